import itertools

import pytest
import torch

from benchmarks.classification import train as training
from benchmarks.classification.arms import parse_arm
from benchmarks.classification.protocol import VERSION, resolve
from benchmarks.classification.train import OutOfTime, train
from semantic_aug.data.dataset import ImageSet
from tests.conftest import CLASSES, build_artifact

CPU = torch.device("cpu")


def make_data(n=24, size=32):
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(n) % 3
    images = torch.randint(0, 256, (n, 1, size, size), generator=generator, dtype=torch.uint8) // 3 + 60 * labels.view(
        -1, 1, 1, 1
    ).to(torch.uint8)
    return ImageSet(images, labels, list(CLASSES), [])


def make_run(arm, artifact=None, *, base="natural", epochs=4, classifier="resnet18-quarter", seed=0, **changed):
    settings = resolve(parse_arm(arm), {"size": 32, "batch": 8} | changed, epochs, artifact)
    names = ("arm", "base", "epochs", "classifier", "seed", "settings", "protocol")
    return dict(zip(names, (arm, base, epochs, classifier, seed, settings, VERSION), strict=True))


def weights(network):
    return torch.cat([value.flatten().double() for value in network.state_dict().values()])


ARMS = ["randaugment", "trivialaugment", "mixup", "cutmix", "remix", "cmo", "ours+randaugment", "smote", "isda",
        "randaugment/ours+randaugment"]  # fmt: skip


def cut_after(monkeypatch, steps):
    """From now on the deadline comes after so many steps: the clock moves on with each look at it."""
    looks = itertools.count()
    monkeypatch.setattr(training.time, "monotonic", lambda: float(next(looks) >= steps))


@pytest.mark.parametrize("arm", ARMS)
def test_a_training_that_was_cut_off_goes_on_bit_for_bit(arm, tmp_path, monkeypatch):
    data, artifact, state = make_data(), build_artifact(), tmp_path / "state.safetensors"
    run = make_run(arm, artifact)
    expected, _ = train(run, data, artifact, CPU)
    for _ in range(2):
        cut_after(monkeypatch, 6)
        with pytest.raises(OutOfTime):
            train(run, data, artifact, CPU, state=state, deadline=1.0)
        torch.rand(5)  # what is drawn elsewhere does not matter
    monkeypatch.undo()
    before = torch.random.get_rng_state()
    found, _ = train(run, data, artifact, CPU, state=state)
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(weights(found), weights(expected))
    monkeypatch.setattr(training, "flip_crop", lambda *_: pytest.fail("trained again"))
    again, _ = train(run, data, artifact, CPU, state=state)
    assert torch.equal(weights(again), weights(expected))
