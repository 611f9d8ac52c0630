import math

import pytest
import torch

from benchmarks.classification.measure import pack_bits
from benchmarks.report import intervals
from benchmarks.report.intervals import bootstrap, compare, mean_sd
from benchmarks.report.rows import group_runs, make_rows
from tests.benchmarks.conftest import make_run


def test_the_quantiles_are_student_s():
    stats = pytest.importorskip("scipy.stats")
    assert pytest.approx([stats.t.ppf(0.975, n) for n in range(1, 31)], abs=6e-4) == intervals.T95


def test_a_paired_difference_written_out(runs):
    for run in runs:  # other differences for other seeds
        run["accuracy"] += 0.001 * run["seed"] * ("ours" in run["arm"])
    (group,) = group_runs(runs)
    rows = {(row.base, row.arm): row for row in group.rows}
    ours, best = rows["natural", "ours+randaugment"], rows["natural", "randaugment"]
    found = compare(ours, best, "accuracy")
    deviation = math.sqrt(sum((value - 3.1) ** 2 for value in (3.0, 3.1, 3.2)) / 2)
    assert found.mean == pytest.approx(3.1)
    assert found.half == pytest.approx(4.303 * deviation / math.sqrt(3))
    assert str(found) == "+3.10 [+2.85, +3.35]"
    assert compare(ours, best, "accuracy", adjusted=True).mean == pytest.approx(3.0)


def test_only_shared_seeds_are_compared():
    rows = make_rows([make_run("natural", "none", seed, 0.4) for seed in (0, 1)] + [make_run("drw", "none", 1, 0.5)])
    found = compare(rows[1], rows[0], "accuracy")
    assert (found.seeds, found.half) == (1, None)
    assert str(found) == "+10.00"
    (alone,) = make_rows([make_run("drw", "none", 2, 0.5)])
    assert compare(alone, rows[0], "accuracy") is None
    assert bootstrap(alone, rows[0], "accuracy") is None


def with_bits(arm, bits):
    run = make_run("natural", arm, 0, 0.5, measured_counts=[len(part) for part in bits])
    return run | {"correct": pack_bits(torch.cat([torch.tensor(part) for part in bits]))}


def test_the_bootstrap_is_that_of_the_binomial():
    generator = torch.Generator().manual_seed(0)
    parts = [torch.rand(2, n, generator=generator) < 0.5 for n in (900, 300)]
    rows = make_rows([with_bits(arm, [part[i].tolist() for part in parts]) for i, arm in enumerate(("none", "cutmix"))])
    ahead = [100 * (part[1].double() - part[0].double()) for part in parts]
    for figure, weights in (("accuracy", (0.75, 0.25)), ("balanced_accuracy", (0.5, 0.5))):
        low, high = bootstrap(rows[1], rows[0], figure)
        mean = sum(w * float(each.mean()) for w, each in zip(weights, ahead, strict=True))
        error = math.sqrt(sum(w**2 * float(each.var()) / len(each) for w, each in zip(weights, ahead, strict=True)))
        assert (low + high) / 2 == pytest.approx(mean, abs=0.15 * error)
        assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.08)


def test_what_both_get_right_says_nothing():
    bits = [[True] * 50 + [False] * 50, [True] * 10]
    rows = make_rows([with_bits(arm, bits) for arm in ("none", "cutmix")])
    assert bootstrap(rows[0], rows[1], "balanced_accuracy") == (0.0, 0.0)


def test_mean_and_deviation():
    assert mean_sd([1.0, 2.0, 3.0]) == "2.00 ± 1.00"
    assert mean_sd([1.0]) == "1.00"
