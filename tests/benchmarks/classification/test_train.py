import itertools
from pathlib import Path

import pytest
import torch

from benchmarks.classification import arms
from benchmarks.classification import train as training
from benchmarks.classification.arms import Part, parse_arm
from benchmarks.classification.bases import BASES
from benchmarks.classification.protocol import VERSION, resolve
from benchmarks.classification.train import OutOfTime, distance_of_views, one_cycle, train, training_key
from semantic_aug.data.dataset import ImageSet
from tests.conftest import CLASSES, build_artifact

CPU = torch.device("cpu")


def make_data(n=24, size=32):
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(n) % 3
    images = torch.randint(0, 256, (n, 1, size, size), generator=generator, dtype=torch.uint8) // 3 + 60 * labels.view(
        -1, 1, 1, 1
    ).to(torch.uint8)
    return ImageSet(images, labels, list(CLASSES), [Path(f"{i}.png") for i in range(n)])


def make_run(arm, artifact=None, *, base="natural", epochs=4, classifier="resnet18-quarter", seed=0, **changed):
    settings = resolve(parse_arm(arm), "natural", {"size": 32, "batch": 8} | changed, artifact)
    names = ("arm", "base", "epochs", "classifier", "seed", "settings", "protocol")
    return dict(zip(names, (arm, base, epochs, classifier, seed, settings, VERSION), strict=True))


def weights(network):
    return torch.cat([value.flatten().double() for value in network.state_dict().values()])


ARMS = [
    "randaugment",
    "trivialaugment",
    "mixup",
    "cutmix",
    "remix",
    "cmo",
    "ours+randaugment",
    "smote",
    "isda",
    "randaugment/ours+randaugment",
]


def cut_after(monkeypatch, steps):
    """From now on the deadline comes after so many steps: the clock moves on with each look at it."""
    looks = itertools.count()
    monkeypatch.setattr(training.time, "monotonic", lambda: float(next(looks) >= steps))


@pytest.mark.parametrize("arm", ARMS)
def test_a_training_that_was_cut_off_goes_on_bit_for_bit(arm, tmp_path, monkeypatch):
    data, artifact, state = make_data(), build_artifact(), tmp_path / "state.safetensors"
    run = make_run(arm, artifact, epochs=2)
    expected, _ = train(run, data, artifact, CPU)
    for _ in range(2):
        cut_after(monkeypatch, 5)
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


def test_bases_train_other_weights():
    data = make_data().subset([i for i in range(24) if i % 3 == 0 or i < 9])  # 8, 3 and 3 images
    networks = [train(make_run("none", base=base, batch=4), data, None, CPU)[0] for base in BASES]
    assert len({hash(tuple(weights(network).tolist())) for network in networks}) == len(BASES)


def test_a_state_that_cannot_be_read_is_a_training_anew(tmp_path):
    data, run = make_data(), make_run("none", epochs=1)
    (tmp_path / "state").write_bytes(b"half a file")
    found, rate = train(run, data, None, CPU, state=tmp_path / "state")
    assert torch.equal(weights(found), weights(train(run, data, None, CPU)[0]))
    assert rate > 0


def test_the_key_of_a_training_is_of_what_decides_it():
    data, run = make_data(), make_run("none")
    key = training_key(run, data, CPU, {"torch": "2"})
    assert training_key(run | {"split": "test", "dedup": "held-out"}, data, CPU, {"torch": "2"}) == key
    for name in training.TRAINED_BY:
        assert training_key(run | {name: "other"}, data, CPU, {"torch": "2"}) != key
    assert training_key(run, data.subset(range(23)), CPU, {"torch": "2"}) != key
    assert training_key(run, data, CPU, {"torch": "3"}) != key


def test_the_last_epochs_are_clean_and_each_view_has_its_parts(monkeypatch):
    data, calls = make_data(), []

    def record(name):
        return lambda context: lambda x, y, i, key: calls.append((name, len(x), *key)) or x

    for name in ("ours", "randaugment"):
        monkeypatch.setitem(arms.PARTS, name, Part("", change=record(name)))
    run = make_run("randaugment/ours+randaugment", epochs=4, clean_epochs=1)
    train(run, data, None, CPU)
    steps = 9  # of 12
    expected = [("randaugment", 4, 0, 0), ("ours", 4, 0, 1), ("randaugment", 4, 0, 1)]
    assert calls == [(name, size, seed, step, view) for step in range(steps) for name, size, seed, view in expected]


def test_in_the_last_real_epochs_only_the_parts_without_a_checkpoint_go_on(monkeypatch):
    calls = []
    for name, uses_checkpoint in (("ours", True), ("randaugment", False)):
        change = lambda context, name=name: lambda x, y, i, key: calls.append((name, key[1])) or x  # noqa: E731
        monkeypatch.setitem(arms.PARTS, name, Part("", change=change, uses_checkpoint=uses_checkpoint))
    train(make_run("ours+randaugment", epochs=4, real_epochs=2, clean_epochs=1), make_data(), None, CPU)
    assert [step for name, step in calls if name == "ours"] == list(range(6))  # of 12
    assert [step for name, step in calls if name == "randaugment"] == list(range(9))


def test_isda_s_strength_follows_the_progress(monkeypatch):
    strengths = []
    original = training.ISDA.logits
    monkeypatch.setattr(
        training.ISDA, "logits", lambda self, *args: strengths.append(args[-1]) or original(self, *args)
    )
    train(make_run("isda", lambda0=0.01), make_data(), None, CPU)
    assert strengths == pytest.approx([0.01 * step / 12 for step in range(12)])


def test_the_distance_of_views_is_that_of_their_directions():
    a, b = torch.randn(5, 7), torch.randn(5, 7)
    cosine = torch.nn.functional.cosine_similarity(a, b)
    torch.testing.assert_close(distance_of_views(torch.cat([a, b])), (2 - 2 * cosine).mean())
    assert distance_of_views(torch.cat([a, 3 * a])) < 1e-6


def test_views_are_tied_by_their_weight():
    data = make_data()
    free, tied = (train(make_run("none/none", tie=tie), data, None, CPU)[0] for tie in (0.0, 1.0))
    assert not torch.equal(weights(free), weights(tied))


def test_the_schedule():
    found = [one_cycle(progress, 0.2) for progress in (0.0, 0.1, 0.2, 0.6, 1.0)]
    assert found == pytest.approx([0.0, 0.5, 1.0, 0.5, 0.0])


def test_a_loss_that_diverges_is_said():
    with pytest.raises(RuntimeError, match="the loss of none, seed 0, is not finite; lower learning_rate"):
        train(
            make_run("none") | {"settings": make_run("none")["settings"] | {"learning_rate": 1e30}},
            make_data(),
            None,
            CPU,
        )
