import math

import pytest

from benchmarks.report import rows
from tests.benchmarks.conftest import make


def test_the_quantiles_are_student_s():
    stats = pytest.importorskip("scipy.stats")
    assert pytest.approx([stats.t.ppf(0.975, n) for n in range(1, 31)], abs=6e-4) == rows.T95


def test_a_paired_difference_written_out(runs):
    made = {row.arm: row for row in rows.rows(runs)}
    found = rows.paired(made["ours-detail"], made["balanced"], "mAP")
    values = [3.0, 3.1, 3.2]
    deviation = math.sqrt(sum((value - 3.1) ** 2 for value in values) / 2)
    assert found.mean == pytest.approx(3.1)
    assert found.half == pytest.approx(4.303 * deviation / math.sqrt(3))
    assert str(found) == "+3.10 [+2.85, +3.35]"


def test_only_seeds_that_both_have_are_paired(runs):
    made = rows.rows([*runs, make("mixup", 2, 0.5), make("isda", 4, 0.5)])
    row = {row.arm: row for row in made}
    assert str(rows.paired(row["mixup"], row["balanced"], "accuracy")) == "-12.00"
    assert rows.paired(row["isda"], row["balanced"], "accuracy") is None


def test_settings_that_differ_are_named_and_nothing_else_may_differ(runs):
    weaker = make("ours-detail", 0, 0.6, settings={"batch": 128, "strength": 0.1})
    labels = [row.label for row in rows.rows([*runs, weaker])]
    assert labels == ["balanced", "none", "ours-detail (strength 0.1)", "ours-detail (strength null)"]
    both = [make("ours-detail", 0, 0.6, settings={"checkpoint": name, "fingerprint": name * 2}) for name in "ab"]
    assert [row.label for row in rows.rows(both)] == ["ours-detail (checkpoint a)", "ours-detail (checkpoint b)"]
    both[1]["settings"] = {"checkpoint": "a", "fingerprint": "other weights"}
    assert [row.label for row in rows.rows(both)] == [
        "ours-detail (fingerprint aa)",
        "ours-detail (fingerprint other weights)",
    ]
    with pytest.raises(ValueError, match=r"the runs differ in epochs \(10, 40\); add epochs=VALUE"):
        rows.rows([*runs, make("none", 0, 0.6, epochs=10)])
    with pytest.raises(ValueError, match=r"the runs differ in images \(100, 90\)"):
        rows.rows([make("none", seed, 0.6, images=images) for seed, images in enumerate((90, 100))])


def test_runs_are_chosen_by_fields_and_settings(runs):
    screen = make("none", 0, 0.6, stage="screen")
    assert rows.select([*runs, screen], {}) == runs
    assert rows.select([*runs, screen], {"stage": "screen"}) == [screen]
    assert len(rows.select(runs, {"seed": "1", "batch": "128", "imbalance": "null", "dedup": "false"})) == 3
    assert rows.select(runs, {"strength": "0.5"}) == []
    with_a_setting = [run for run in runs if run["arm"] != "ours-detail"] + [
        make("ours-detail", 0, 0.6, settings={"batch": 128, "strength": strength}) for strength in (0.1, 0.5)
    ]
    chosen = rows.select(with_a_setting, {"strength": "0.5"})
    assert chosen == [*with_a_setting[:-2], with_a_setting[-1]]  # the others have no strength that could differ
