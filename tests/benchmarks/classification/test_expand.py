import json

import pytest

from benchmarks.classification import expand
from semantic_aug.cli import main as cli
from tests.conftest import build_artifact, write_folder


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder ``train`` whose last class is rare, what expand makes of it, and ``test``."""
    root = tmp_path_factory.mktemp("faces")
    build_artifact().save(root / "checkpoint")
    write_folder(root / "train", 12)
    for number in range(3, 12):
        (root / "train" / "sad" / f"{number}.png").unlink()
    write_folder(root / "test", 5, seed=1)
    words = [root / "checkpoint", root / "train", "--output", root / "balanced", "--balance", "--device", "cpu"]
    assert cli.main(["expand", *map(str, words)]) == 0
    return root


@pytest.fixture
def words(root, tmp_path):
    folders = [str(root / "train"), str(root / "balanced"), "--test", str(root / "test"), "--device", "cpu"]
    return [*folders, "--results", str(tmp_path / "r.jsonl"), "--steps", "3", "--batch", "8", "--size", "32"]


def test_every_arm_runs_once_and_repeats(words, tmp_path, capsys):
    assert expand.main(words) == 0
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert [(line["arm"], line["images"]) for line in lines] == [
        ("unbalanced", 27),
        ("oversampled", 27),
        ("expanded", 36),
        ("expanded-oversampled", 36),
    ]
    for line in lines:
        assert line["balanced_accuracy"] == pytest.approx(sum(line["recall"].values()) / 3, abs=1e-5)
    assert lines[2]["expand"]["strength"] == 0.35
    assert str(tmp_path.parent) not in (tmp_path / "r.jsonl").read_text(), "no path of somebody's machine"
    capsys.readouterr()
    assert expand.main(words) == 0
    assert capsys.readouterr().out == "", "nothing is done twice"
    first = (tmp_path / "r.jsonl").read_text()
    (tmp_path / "r.jsonl").write_text("".join(first.splitlines(keepends=True)[1:]))
    assert expand.main(words) == 0
    again = json.loads((tmp_path / "r.jsonl").read_text().splitlines()[-1])
    assert {**again, "images_per_s": 0} == {**lines[0], "images_per_s": 0}


@pytest.mark.parametrize("arm", ["oversampled", "expanded-oversampled"])
def test_oversampling_draws_every_class_equally_often(arm, root):
    run = {"arm": arm, "size": 32, "batch": 9, "steps": 60}
    labels = [label for _, batch in expand.batches(run, root / "train", 0) for label in batch.tolist()]
    assert len(labels) == 540
    assert all(130 < labels.count(label) < 230 for label in range(3))


def test_what_is_refused(words, root, tmp_path, capsys):
    write_folder(tmp_path / "other", classes=["cat", "dog"])
    assert expand.main([*words, "--test", str(tmp_path / "other")]) == 2
    assert "['cat', 'dog']" in capsys.readouterr().err
    assert expand.main([words[0], words[0], *words[2:]]) == 2
    assert "expand.json" in capsys.readouterr().err
