import pytest
import torch
from torchvision.transforms import v2

from benchmarks.classification.randaugment import (
    NAMES,
    SIGNED,
    apply_operations,
    randaugment,
    randaugment_space,
    trivialaugment,
    trivialaugment_space,
)

SPACES = {
    "RandAugment": (randaugment_space, lambda magnitude: v2.RandAugment(num_ops=1, magnitude=magnitude)),
    "TrivialAugment": (trivialaugment_space, lambda magnitude: v2.TrivialAugmentWide()),
}


def draw_as_torchvision(images, transform, number, magnitude, negative, monkeypatch):
    """What a transform of torchvision makes where it draws this operation, magnitude and sign."""
    draws = iter([number, magnitude])
    with monkeypatch.context() as patch:
        patch.setattr(torch, "randint", lambda high, size: torch.tensor(next(draws)))
        patch.setattr(torch, "rand", lambda size: torch.tensor(0.2 if negative else 0.8))
        return transform(images)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("number", "name"), list(enumerate(NAMES)))
def test_each_operation_is_torchvision_s(number, name, channels, space, monkeypatch):
    generator = torch.Generator().manual_seed(number)
    images = torch.randint(0, 256, (3, channels, 48, 40), generator=generator, dtype=torch.uint8)
    amounts, transform = SPACES[space]
    for magnitude in (0, 5, 9, 14, 30):
        for negative in (False, True):
            expected = draw_as_torchvision(images, transform(magnitude), number, magnitude, negative, monkeypatch)
            operation, sizes = torch.full((3, 1), number), torch.full((3, 1), magnitude)
            found = apply_operations(images, operation, sizes, torch.full((3, 1), negative), amounts)
            # Magnitudes are float32 there, so that a grey level may be rounded the other way, or a pixel at the border
            # of a rotated image be filled.
            different = (found.int() - expected.int()).abs() > 1
            assert different.float().mean() < 0.003, (name, magnitude, negative)


@pytest.mark.parametrize("transform", [v2.RandAugment, v2.TrivialAugmentWide])
def test_torchvision_has_no_other_operations(transform):
    assert list(transform._AUGMENTATION_SPACE) == NAMES
    assert {name for name, (_, signed) in transform._AUGMENTATION_SPACE.items() if signed} == SIGNED


def test_every_image_has_operations_of_its_own():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (32, 1, 24, 24), generator=generator, dtype=torch.uint8)
    operation = torch.randint(len(NAMES), (32, 2), generator=generator)
    magnitude = torch.randint(31, (32, 2), generator=generator)
    negative = torch.rand(32, 2, generator=generator) < 0.5
    together = apply_operations(images, operation, magnitude, negative, randaugment_space)
    for i in range(32):
        out = images[i : i + 1]
        for step in (slice(0, 1), slice(1, 2)):
            drawn = [each[i : i + 1, step] for each in (operation, magnitude, negative)]
            out = apply_operations(out, *drawn, randaugment_space)
        assert torch.equal(together[i], out[0])


def test_the_draws_come_from_the_generator_and_the_magnitude_matters():
    images = torch.randint(0, 256, (64, 1, 24, 24), dtype=torch.uint8)

    def draw(call, seed, *magnitude):
        return call(images, torch.Generator().manual_seed(seed), *magnitude)

    for call in (randaugment, trivialaugment):
        assert torch.equal(draw(call, 0), draw(call, 0))
        assert not torch.equal(draw(call, 0), draw(call, 1))
    changed = [(draw(randaugment, 0, m).float() - images.float()).abs().mean() for m in (0, 9, 20)]
    assert changed[0] < changed[1] < changed[2]
