import math

import pytest

from semantic_aug.evaluation.affinity import Affinity, Measured
from semantic_aug.evaluation.compare import compare, curves
from semantic_aug.evaluation.estimate import exact
from semantic_aug.evaluation.points import REAL, RECONSTRUCTION, Point

IMAGES = 4


def at(point, diversity, agree, balanced=None):
    agree = exact(agree, IMAGES)
    other = agree if balanced is None else exact(balanced, IMAGES)
    affinity = Affinity(agree=agree, accuracy=other, balanced=other)
    return Measured(point=point, diversity=exact(diversity, IMAGES), affinity={"a": affinity}, identity=None)


def build(lines):
    """From (mode, perturbation, strength, diversity, agree)."""
    measured = {REAL: at(None, 0, 1, 0.6), RECONSTRUCTION: at(None, 0, 0.5, 0.4)}
    for mode, name, strength, diversity, agree in lines:
        point = Point(mode, name, strength)
        measured[str(point)] = at(point, diversity, agree)
    return measured


DETAIL = [
    ("detail", "covariance", 1.0, 0.2, 0.55),
    ("detail", "covariance", 0.25, 0.1, 0.85),
    ("detail", "isotropic", 0.25, 0.05, 0.9),
    ("detail", "isotropic", 1.0, 0.15, 0.5),
]


def test_curves_rise_from_strength_zero():
    lines = curves(build([*DETAIL, ("decode", "covariance", 0.5, 0.1, 0.45)]))
    assert [each.strength for each in lines["detail", "covariance"]] == [0, 0.25, 1]
    assert lines["detail", "covariance"][0].affinity["a"].agree.value == 1
    assert lines["decode", "covariance"][0].affinity["a"].agree.value == 0.5


def test_ahead_is_the_difference_at_equal_diversity():
    ahead, _ = compare(build(DETAIL), ["a"])
    (only,) = ahead  # at 0.2 isotropic noise is not known
    assert only.point == Point("detail", "covariance", 0.25)
    assert only.agree.value == pytest.approx(0.85 - 0.7)
    assert only.accuracy.value == pytest.approx(0.85 - 0.7)


def test_without_isotropic_noise_or_judges_there_is_nothing_to_compare():
    assert compare(build(DETAIL[:2]), ["a"])[0] == []
    assert compare(build([*DETAIL[:2], ("decode", "isotropic", 1.0, 0.3, 0.2)]), ["a"])[0] == []
    assert compare(build(DETAIL), []) == ([], [])


def test_reach_is_the_diversity_at_an_agreement_of_three_quarters():
    _, reach = compare(build(DETAIL), ["a"])
    covariance, isotropic = sorted(reach, key=lambda each: each.perturbation)
    assert covariance.reached
    assert covariance.diversity.value == pytest.approx(0.1 + 0.1 / 3)
    assert covariance.strength == pytest.approx((0.5 + 0.5 / 3) ** 2)
    assert isotropic.diversity.value == pytest.approx(0.05 + 0.1 * 0.15 / 0.4)
    assert (covariance.mode, covariance.judge) == ("detail", "a")


def test_reach_may_be_a_lower_bound_or_nothing():
    weak = [("detail", "covariance", 0.1, 0.03, 0.95), ("detail", "covariance", 0.4, 0.06, 0.8)]
    _, (only,) = compare(build(weak), ["a"])
    assert (only.reached, only.strength, only.diversity.value) == (False, pytest.approx(0.4), 0.06)
    assert compare(build([("decode", "covariance", 1.0, 0.2, 0.3)]), ["a"])[1] == []


def test_between_no_strength_and_the_first_the_strength_goes_with_the_square():
    _, (only,) = compare(build([("detail", "pooled", 1.0, 0.2, 0.5)]), ["a"])
    assert only.strength == pytest.approx(0.25)
    assert only.diversity.value == pytest.approx(0.1)
    assert math.isfinite(only.diversity.error)
