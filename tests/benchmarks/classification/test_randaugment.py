import pytest
import torch
from torchvision.transforms import v2

from benchmarks.classification.randaugment import OPERATIONS, SIGNED, randaugment

NUMBERS = list(enumerate(OPERATIONS))


def torchvision_s(images, number, negative, monkeypatch):
    """What v2.RandAugment makes where it draws this operation and this sign."""
    with monkeypatch.context() as patch:
        patch.setattr(torch, "randint", lambda high, size: torch.tensor(number))
        patch.setattr(torch, "rand", lambda size: torch.tensor(0.2 if negative else 0.8))
        return v2.RandAugment(num_ops=1)(images)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("number", "name"), NUMBERS)
def test_each_operation_is_torchvision_s(number, name, channels, monkeypatch):
    images = torch.randint(0, 256, (3, channels, 48, 40), dtype=torch.uint8)
    for negative in (False, True):
        expected = torchvision_s(images, number, negative, monkeypatch)
        found = randaugment(images, torch.full((3, 1), number), torch.full((3, 1), negative))
        # Magnitudes are float32 there, so that a grey level may be rounded the other way.
        assert (found.int() - expected.int()).abs().max() <= 1, (name, negative)


def test_torchvision_has_no_other_operations(monkeypatch):
    seen = []
    monkeypatch.setattr(torch, "randint", lambda high, size: seen.append(high) or torch.tensor(0))
    v2.RandAugment(num_ops=1)(torch.zeros(1, 1, 8, 8, dtype=torch.uint8))
    assert seen == [len(OPERATIONS)]
    assert set(OPERATIONS) > SIGNED


def test_every_image_has_operations_of_its_own():
    images = torch.randint(0, 256, (32, 1, 24, 24), dtype=torch.uint8)
    operation, negative = torch.randint(len(OPERATIONS), (32, 2)), torch.rand(32, 2) < 0.5
    together = randaugment(images, operation, negative)
    for i in range(32):
        first = randaugment(images[i : i + 1], operation[i : i + 1, :1], negative[i : i + 1, :1])
        second = randaugment(first, operation[i : i + 1, 1:], negative[i : i + 1, 1:])
        assert torch.equal(together[i], second[0])
    assert not torch.equal(together, images)
