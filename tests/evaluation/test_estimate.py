import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score

from semantic_aug.evaluation.estimate import balanced_mean, exact, mean, read_off, wilson_low


def draw(n=200, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(4, n, generator=generator, dtype=torch.float64)


def test_a_mean_and_its_error_written_out():
    (values, *_) = draw()
    found = mean(values)
    assert found.value == pytest.approx(float(np.mean(values.numpy())))
    assert found.error == pytest.approx(float(np.std(values.numpy(), ddof=1) / math.sqrt(len(values))))
    assert mean(torch.tensor([True, False, True, True])).value == 0.75
    assert mean(torch.ones(1)).error is None
    assert (exact(3, 5).value, exact(3, 5).error) == (3, 0)


def test_a_balanced_mean_is_scikit_learns_and_its_error_that_of_independent_classes():
    labels = torch.tensor([0] * 60 + [1] * 30 + [3] * 110)  # there is no class 2
    right = draw()[0] < 0.2 + 0.2 * labels
    found = balanced_mean(right, labels)
    predicted = torch.where(right, labels, 2)
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        assert found.value == pytest.approx(balanced_accuracy_score(labels, predicted))
    variances = [right[labels == label].double().var() / (labels == label).sum() for label in (0, 1, 3)]
    assert found.error == pytest.approx(math.sqrt(sum(variances)) / 3, rel=0.02)
    assert float(found.influence.mean()) == pytest.approx(0, abs=1e-12)


def test_a_class_of_one_image_is_not_taken_to_be_known():
    values, labels = torch.tensor([1.0, 1.0, 1.0, 0.0]), torch.tensor([0, 0, 0, 1])
    assert balanced_mean(values, labels).value == 0.5
    assert balanced_mean(values, labels).error > 0.1


def test_differences_are_paired():
    a, b, *_ = draw()
    assert (mean(a) - mean(a)).error == 0
    assert (mean(a) - mean(b)).error == pytest.approx(mean(a - b).error)
    assert ((mean(a) + mean(b) * 3) / 2).error == pytest.approx(mean((a + 3 * b) / 2).error)


@given(st.floats(0, 0.4))
def test_a_value_is_read_off_a_line(x):
    curve = [(exact(at, 3), exact(1 - 2 * at, 3)) for at in (0, 0.1, 0.15, 0.4)]
    assert read_off(curve, exact(x, 3)).value == pytest.approx(1 - 2 * x)


def test_the_first_crossing_counts_and_there_may_be_none():
    curve = [(exact(x, 3), exact(y, 3)) for x, y in ((1, 0), (0.9, 1), (0.9, 2), (0.5, 4), (0.7, 9))]
    assert read_off(curve, exact(0.7, 3)).value == pytest.approx(3)
    assert read_off(curve, exact(0.9, 3)).value == 1
    assert read_off(curve, exact(0.4, 3)) is None
    assert read_off(curve[:1], exact(1, 3)) is None


def test_the_error_of_what_is_read_off_is_the_jackknifes():
    base, noise, one, two = draw(300)
    xs, ys = [0.1 * base, 0.2 + 0.3 * noise], [one, 2 + 0.5 * two + noise]
    at = 0.2 + 0.05 * one

    def value(keep):
        x0, x1, y0, y1, goal = (float(each[keep].mean()) for each in (*xs, *ys, at))
        return y0 + (y1 - y0) * (goal - x0) / (x1 - x0)

    found = read_off([(mean(x), mean(y)) for x, y in zip(xs, ys, strict=True)], mean(at))
    n = len(at)
    assert found.value == pytest.approx(value(torch.arange(n)))
    without = np.array([value(torch.arange(n) != left_out) for left_out in range(n)])
    jackknife = math.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum())
    assert found.error == pytest.approx(jackknife, rel=0.02)


@given(st.integers(1, 300), st.floats(0, 1))
def test_wilsons_interval_is_scipys(trials, share):
    successes = round(trials * share)
    expected = binomtest(successes, trials).proportion_ci(method="wilson").low
    assert wilson_low(successes, trials) == pytest.approx(expected, abs=1e-4)
