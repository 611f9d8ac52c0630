import json

import pytest

from benchmarks.classification import store

RUN = dict.fromkeys(store.IDENTITY, "x") | {"settings": {"p": 0.5}} | dict.fromkeys(store.FIGURES, 0.5)


def test_runs_come_back_in_order(tmp_path):
    path = tmp_path / "results" / "runs.jsonl"
    assert store.read(path) == []
    for seed in range(3):
        store.append(path, RUN | {"seed": seed})
    assert [run["seed"] for run in store.read(path)] == [0, 1, 2]


@pytest.mark.parametrize("broken", ["{", '"text"', "[1]", "7", "{}", "\x00\x00"])
def test_a_broken_line_is_skipped_with_a_warning_and_stays(tmp_path, broken):
    path = tmp_path / "runs.jsonl"
    store.append(path, RUN)
    path.write_text(path.read_text() + broken + "\n")
    store.append(path, RUN | {"seed": 1})
    with pytest.warns(UserWarning, match=r"runs.jsonl, line 2 is not a complete run"):
        assert len(store.read(path)) == 2
    assert path.read_text().splitlines()[1] == broken


def test_a_half_written_line_does_not_spoil_the_next(tmp_path):
    path = tmp_path / "runs.jsonl"
    half = json.dumps(RUN)[:40]
    path.write_text(half)
    store.append(path, RUN)
    with pytest.warns(UserWarning, match="line 1 is not"):
        assert store.read(path) == [RUN]
    assert path.read_text().startswith(half + "\n")


def test_identity_is_every_choice_and_no_result():
    same = RUN | {"accuracy": 0.1, "images_per_s": 3.0, "settings": dict(reversed(RUN["settings"].items()))}
    assert store.identity(same) == store.identity(RUN)
    for name in store.IDENTITY:
        assert store.identity(RUN | {name: "y"}) != store.identity(RUN)
