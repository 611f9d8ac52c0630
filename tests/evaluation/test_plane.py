import dataclasses
import json
import math

import pytest
import torch
from torch.special import ndtr

from semantic_aug.evaluation.plane import FACES, draw, plane
from semantic_aug.evaluation.points import RANDAUGMENT, REAL, RECONSTRUCTION, Point
from tests.evaluation import made_up
from tests.evaluation.made_up import DEVIATIONS, LEFT, SPREAD, Nothing, build_images, build_judge, difference

STRENGTHS = (0.5, 2.0, 6.0)
POINTS = [
    Point(mode, name, s) for mode in ("decode", "detail") for name in ("covariance", "isotropic") for s in STRENGTHS
]


def measure(data=None, judges=None, points=POINTS, **options):
    judges = {"signs": build_judge()} if judges is None else judges
    return plane(made_up.build_artifact(), data or build_images(), judges, difference, points=points, **options)


@pytest.fixture(scope="module")
def found():
    return measure(training=build_images(40))


def near(estimate, expected, errors=3.5):
    assert abs(estimate.value - expected) < errors * estimate.error, (estimate, estimate.error, expected)


def test_affinity_and_diversity_are_what_the_normal_distribution_says(found):
    for point in POINTS:
        spread = DEVIATIONS if point.perturbation == "covariance" else (SPREAD, SPREAD)
        of = found.measured[str(point)]
        agree = float(ndtr(torch.tensor(LEFT / (spread[0] * point.strength**0.5))))
        if agree < 0.999:
            near(of.affinity["signs"].agree, agree)
            assert of.affinity["signs"].agree.error == pytest.approx(math.sqrt(agree * (1 - agree) / 1200), rel=0.2)
        for measure in ("accuracy", "balanced"):  # the judge is right on every real image
            assert getattr(of.affinity["signs"], measure).value == pytest.approx(of.affinity["signs"].agree.value)
        if point.strength < 1:  # beyond, the brightest are clipped
            near(of.diversity, sum(spread) * math.sqrt(point.strength / math.pi))


def test_what_is_not_drawn(found):
    for kind in (REAL, RECONSTRUCTION):
        of = found.measured[kind]
        assert (of.diversity.value, of.point, of.identity) == (0, None, None)
        assert of.affinity["signs"].agree.value == of.affinity["signs"].accuracy.value == 1
    assert found.measured[RANDAUGMENT].diversity.value > 0
    assert found.measured[RANDAUGMENT].affinity["signs"].agree.value < 1
    assert list(found.measured) == [REAL, RECONSTRUCTION, RANDAUGMENT, *map(str, POINTS)]
    judge = found.judges["signs"]
    assert (judge.accuracy.value, judge.chance, judge.can_judge) == (1, 0.5, True)
    assert found.probe.accuracy.value == 1
    assert found.probe.images == 80


def test_the_covariance_is_ahead_of_isotropic_noise_where_it_must_be(found):
    assert {(ahead.point, ahead.judge) for ahead in found.ahead} <= {
        (p, "signs") for p in POINTS if p.perturbation == "covariance"
    }
    (ahead,) = (each for each in found.ahead if str(each.point) == "detail covariance 2")
    of = found.measured["detail covariance 2"]
    curve = [(0.0, 1.0)]
    for strength in STRENGTHS:
        base = found.measured[f"detail isotropic {strength:g}"]
        curve.append((base.diversity.value, base.affinity["signs"].agree.value))
    after = next(i for i, (x, _) in enumerate(curve) if x >= of.diversity.value)
    (x0, y0), (x1, y1) = curve[after - 1 : after + 1]
    there = y0 + (y1 - y0) * (of.diversity.value - x0) / (x1 - x0)
    assert ahead.agree.value == pytest.approx(of.affinity["signs"].agree.value - there)
    assert ahead.agree.value > 0.08
    assert 0 < ahead.agree.error < of.affinity["signs"].agree.error + 0.02


def test_the_same_seed_gives_the_same_figures_whatever_the_batch():
    data, judges = build_images(30), {"signs": build_judge()}
    before = torch.get_rng_state()
    first = measure(data, judges).to_json()
    assert torch.equal(before, torch.get_rng_state())
    assert torch.is_grad_enabled()
    torch.rand(3)
    assert measure(data).to_json() == first
    assert measure(data, batch=7).to_json() == first
    assert measure(data, seed=1).to_json()["measured"] != first["measured"]
    assert json.loads(json.dumps(first, allow_nan=False)) == first


def test_a_judge_near_chance_is_not_believed():
    judges = {"signs": build_judge(), "nothing": build_judge(Nothing())}
    found = measure(build_images(60), judges, POINTS[:3])
    assert not found.judges["nothing"].can_judge
    assert found.judges["nothing"].accuracy.value == pytest.approx(0.5, abs=0.05)
    assert all(set(of.affinity) == {"signs"} for of in found.measured.values())
    assert {reach.judge for reach in found.reach} == {"signs"}


def test_one_class_cannot_be_judged():
    data = build_images(20)
    assert not measure(data.subset(range(20)), points=[]).judges["signs"].can_judge


def test_identity_is_a_share_of_the_distance_between_strangers():
    data = build_images(10)
    found = measure(data, points=POINTS[6:7], embed=made_up.encode).measured
    real = made_up.encode(data.batch(slice(None))).double()
    strangers = torch.stack([(a - b).norm() for i, a in enumerate(real) for b in real[:i]]).mean()
    assert found[REAL].identity.value == 0
    assert found[RECONSTRUCTION].identity.value == pytest.approx(0, abs=1e-2)
    moved = found["detail covariance 0.5"].identity.value * float(strangers)
    assert moved == pytest.approx(math.sqrt(0.5) * 0.26, rel=0.35)
    shown = []
    measure(build_images(60), points=[], embed=lambda x: shown.append(len(x)) or made_up.encode(x), batch=50)
    assert sum(shown) == 3 * FACES


def test_faces_that_are_all_the_same_have_no_identity():
    found = measure(build_images(5), points=[], embed=lambda x: torch.ones(len(x), 3)).measured
    assert found[REAL].identity is None


def test_without_judges_or_points_diversity_is_measured():
    found = measure(build_images(5), {}, [POINTS[0], POINTS[0]])
    assert list(found.measured) == [REAL, RECONSTRUCTION, RANDAUGMENT, str(POINTS[0])]
    assert found.measured[str(POINTS[0])].affinity == {}
    assert (found.ahead, found.reach, found.probe) == ([], [], None)


def test_misuse_is_refused():
    data = build_images(5)
    with pytest.raises(ValueError, match=r"2 or more images of shape \(1, 16, 16\), got 1 of"):
        measure(data.subset([0]))
    with pytest.raises(ValueError, match=r"got 10 of \(3, 16, 16\)"):
        measure(dataclasses.replace(data, images=data.images.expand(-1, 3, -1, -1)))
    with pytest.raises(ValueError, match=r"unknown classes \['grey'\]"):
        measure(dataclasses.replace(data, classes=["dark", "grey"]))
    stranger = dataclasses.replace(build_judge(), classes=["cat", "dog"])
    with pytest.raises(ValueError, match="the judge knows the classes"):
        measure(data, {"stranger": stranger})


def test_a_part_of_the_images_is_drawn_in_order():
    data = build_images(10)
    part = draw(data, 7, seed=0)
    assert len(part) == 7
    assert len(draw(data, 100, seed=0)) == 20
    again = draw(data, 7, seed=0)
    assert torch.equal(part.images, again.images)
    assert not torch.equal(part.images, draw(data, 7, seed=1).images)
    assert part.labels.tolist() == sorted(part.labels.tolist())
