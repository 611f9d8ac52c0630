import doctest

import pytest
import torch
from torchvision.transforms import v2

from semantic_aug import LatentModel
from semantic_aug._random import seeded
from semantic_aug.evaluation import points
from semantic_aug.evaluation.points import RANDAUGMENT, REAL, RECONSTRUCTION, Batch, Point, default_points
from semantic_aug.functional import semantic_augment_image
from semantic_aug.model.recommended import Recommended
from semantic_aug.perturb import PERTURBATIONS
from tests.conftest import build_artifact

POINTS = [
    Point(mode, name, strength) for name in PERTURBATIONS for strength in (0.3, 1.0) for mode in ("decode", "detail")
]
LABELS = torch.tensor([0, 1, 0, 1, 0, 1])  # "pairs" needs two others of the class


def images(n=6, channels=1):
    return torch.randint(0, 256, (n, channels, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))


def test_the_example_runs():
    assert doctest.testmod(points) == (0, 1)


def test_points_are_checked_and_named():
    assert str(Point("detail", "pooled", 0.35)) == "detail pooled 0.35"
    for wrong in (("both", "covariance", 1.0), ("detail", "noise", 1.0)):
        with pytest.raises(ValueError, match="expected a mode of"):
            Point(*wrong)
    for strength in (0, -1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="above 0 and finite"):
            Point("detail", "covariance", strength)


def test_the_default_points_hold_what_the_artifact_recommends():
    artifact = build_artifact()
    artifact.recommended = Recommended(strength=0.8)
    found = default_points(artifact)
    assert Point("detail", "covariance", 0.8) in found
    assert {point.perturbation for point in found} == {"covariance", "isotropic"}
    assert len(found) == len(set(found)) == 2 * 2 * 4


@torch.no_grad()
@pytest.mark.parametrize("channels", [1, 3])
def test_a_point_makes_what_the_transform_makes(channels):
    artifact = build_artifact(channels=channels)
    x = images(channels=channels)
    model = LatentModel.of(artifact)
    made = dict(Batch(model, x, LABELS, 10, seed=7).make(POINTS))
    noise = torch.stack(
        [torch.randn(2, artifact.network.latent_dim, generator=seeded(7, "plane", 10 + i)) for i in range(6)]
    )
    assert set(made) == {REAL, RECONSTRUCTION, RANDAUGMENT, *map(str, POINTS)}
    assert torch.equal(made[REAL], x[None])
    for point in POINTS:
        for draw in range(2):
            expected = semantic_augment_image(
                x,
                noise[:, draw],
                model,
                LABELS,
                mode=point.mode,
                perturbation=point.perturbation,
                strength=point.strength,
            )
            assert (made[str(point)][draw].int() - expected.int()).abs().max() <= 1  # where rounding is close to half
    still = semantic_augment_image(x, noise[:, 0], model, LABELS, mode="decode", strength=0.0)
    assert (made[RECONSTRUCTION][0].int() - still.int()).abs().max() <= 1


@torch.no_grad()
def test_draws_depend_on_the_position_and_the_seed_alone():
    artifact, x, before = build_artifact(), images(), torch.get_rng_state()
    whole = dict(Batch(LatentModel.of(artifact), x, LABELS, 0, seed=0).make(POINTS[:2]))
    part = dict(Batch(LatentModel.of(artifact), x[3:], LABELS[3:], 3, seed=0).make(POINTS[:2]))
    other = dict(Batch(LatentModel.of(artifact), x, LABELS, 0, seed=1).make(POINTS[:2]))
    assert torch.equal(torch.get_rng_state(), before)
    for kind in (RANDAUGMENT, *map(str, POINTS[:2])):
        assert (whole[kind][:, 3:].int() - part[kind].int()).abs().max() <= 1
        assert not torch.equal(whole[kind], other[kind])
        assert not torch.equal(whole[kind][0], whole[kind][1])


@torch.no_grad()
def test_randaugment_is_torchvisions_drawn_for_each_image():
    x = images()
    made = dict(Batch(LatentModel.of(build_artifact()), x, LABELS, 4, seed=2).make([]))[RANDAUGMENT]
    torch.manual_seed(seeded(2, "randaugment", 1, 9).initial_seed())
    assert torch.equal(made[1, 5], v2.RandAugment()(x[5]))
