import json
import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch.testing import assert_close

from semantic_aug._io import save_with_digest
from semantic_aug.data.dataset import ImageSet, load_folder
from semantic_aug.evaluation.classifier import (
    ARCHITECTURES,
    FIELDS,
    GROUP,
    Judge,
    JudgeError,
    augment_in_groups,
    one_cycle,
    resnet18,
    train_judge,
    vary,
    vgg,
)
from tests.conftest import CLASSES


def build_judge(classes=CLASSES, channels=1, architecture="resnet18-half"):
    """An untrained judge of images of 32 pixels."""
    torch.manual_seed(2)
    network = ARCHITECTURES[architecture](channels, len(classes))
    return Judge(
        network=network,
        classes=classes,
        channels=channels,
        size=32,
        images=5,
        epochs=1,
        seed=0,
        accuracy=0.5,
        architecture=architecture,
    )


def greys(seed, size=8):
    """Images that nobody could mistake: each class has a grey of its own, 87 levels from the next, the noise has 20.

    The mean of an image's pixels is off its class's grey by 2.5 levels at size 8, so any judge that learns is right
    about every image, whichever way rounding sends its training.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(len(CLASSES)).repeat_interleave(12)
    noise = 20 * torch.randn(len(labels), 1, size, size, generator=generator)
    images = (41 + 87 * labels[:, None, None, None] + noise).clamp(0, 255).to(torch.uint8)
    return ImageSet(images, labels, CLASSES, [Path(f"{i}.png") for i in range(len(labels))])


def train_on_greys(data, held_out=None, say=lambda _: None, **options):
    """60 steps: of the running statistics that batch norm began with, 0.9^60 = 0.2 % are left."""
    return train_judge(data, held_out, epochs=20, batch=12, learning_rate=0.02, say=say, **options)


def same(a, b):
    left, right = a.network.state_dict(), b.network.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_at_full_width_it_is_torchvisions_resnet18_with_a_small_stem():
    from torchvision.models import resnet18 as original

    theirs = original(num_classes=5)
    theirs.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)
    ours = resnet18(3, 5, width=64)
    values = list(theirs.state_dict().values())
    ours.load_state_dict(dict(zip(ours.state_dict(), values, strict=True)))
    x = torch.randn(2, 3, 48, 48)
    assert_close(ours.eval()(x), theirs.eval()(x))
    assert sum(p.numel() for p in resnet18(3, 5).parameters()) < sum(p.numel() for p in theirs.parameters()) / 3.9


def test_the_vgg_has_no_shortcuts_and_knows_where_things_are():
    network = vgg(1, 3).eval()
    assert all(type(module).__module__.startswith("torch.nn.modules") for module in network)
    for size in (16, 32, 48, 100):
        assert network(torch.zeros(2, 1, size, size)).shape == (2, 3)
    left = torch.zeros(1, 1, 144, 144)
    left[..., 60:72, 60:72] = 1
    right = left.roll(48, 3)  # by a cell of the dense layer's grid, so that only the place differs
    assert_close(network[:16](left)[..., 1], network[:16](right)[..., 2])
    assert not torch.allclose(network(left), network(right))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_it_learns_what_can_be_learnt(architecture):
    data, held_out, lines = greys(0), greys(1), []
    judge = train_on_greys(data, held_out, say=lines.append, architecture=architecture)
    assert judge.accuracy > 0.9
    assert len(lines) == 21
    first, last = (re.fullmatch(rf"judge: epoch {n} of 20, loss (\S+)", lines[n - 1])[1] for n in (1, 20))
    assert float(last) < 0.1 < 0.5 < float(first), "ln 3 = 1.1 is that of a guess"
    assert lines[-1] == f"judge: accuracy {judge.accuracy:.4f} on 36 held-out images"
    x = held_out.batch(slice(None))
    assert (judge.logits(x).argmax(1) == held_out.labels).double().mean() == judge.accuracy
    assert (judge.classes, judge.channels, judge.size, judge.images, judge.epochs) == (CLASSES, 1, 8, 36, 20)
    assert judge.architecture == architecture


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_repeats_bit_for_bit_and_leaves_the_global_generator_alone(folder, precision):
    data = load_folder(folder, 1, 32)

    def trained(seed):
        return train_judge(data, epochs=2, batch=7, seed=seed, precision=precision, say=lambda _: None)

    before = torch.get_rng_state()
    first = trained(0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert same(first, trained(0))
    assert not same(first, trained(1))
    assert first.accuracy is None
    assert not any(p.requires_grad for p in first.network.parameters())


def test_a_balanced_judge_does_not_prefer_the_common_class(monkeypatch):
    """All images are alike, so a judge can only learn how often each class occurs: one image in four is rare."""
    linear = lambda channels, classes: torch.nn.Sequential(  # noqa: E731
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(channels, classes)
    )
    monkeypatch.setitem(ARCHITECTURES, "linear", linear)
    labels = torch.zeros(36, dtype=torch.int64).index_fill_(0, torch.arange(0, 36, 4), 1)
    alike = ImageSet(torch.full((36, 1, 16, 16), 128, dtype=torch.uint8), labels, ["common", "rare"], [Path("x")] * 36)
    options = {"architecture": "linear", "epochs": 60, "batch": 12}
    plain, balanced = (train_judge(alike, balanced=each, say=lambda _: None, **options) for each in (False, True))
    x = alike.batch(slice(0, 1))
    assert_close(plain.probabilities(x)[0], torch.tensor([0.75, 0.25]), atol=0.05, rtol=0)
    assert_close(balanced.probabilities(x)[0], torch.tensor([0.5, 0.5]), atol=0.05, rtol=0)


def test_randaugment_is_drawn_for_each_group_and_repeats():
    images = (torch.rand(3 * GROUP, 1, 32, 32) * 255).to(torch.uint8)
    before = torch.get_rng_state()
    first = augment_in_groups(images, 5)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, augment_in_groups(images, 5))
    assert not torch.equal(first, augment_in_groups(images, 6))
    again = augment_in_groups(images[:GROUP].repeat(3, 1, 1, 1), 5)
    assert len({part.numpy().tobytes() for part in again.split(GROUP)}) > 1


def test_what_cannot_be_trained_is_refused(folder):
    data = load_folder(folder, 1, 32)
    with pytest.raises(ValueError, match="at least 1, got 0, 10 and 128"):
        train_judge(data.subset([]))
    with pytest.raises(ValueError, match="at least 1, got 18, 0 and 128"):
        train_judge(data, epochs=0)
    with pytest.raises(ValueError, match="must be one of resnet18-half, vgg-small, got 'resnet50'"):
        train_judge(data, architecture="resnet50")
    with pytest.raises(ValueError, match="fp32 or bf16, got 'fp16'"):
        train_judge(data, precision="fp16")
    other = ImageSet(data.images, data.labels, ["joy", "happy", "sad"], data.files)
    with pytest.raises(ValueError, match=r"unknown classes \['joy'\]"):
        train_judge(data, other)
    with pytest.raises(RuntimeError, match="loss is nan after 18 images; lower"):
        train_judge(data, epochs=1, batch=3, learning_rate=1e30)


def test_images_are_mirrored_and_shifted_each_in_its_own_way():
    images = torch.arange(24.0).expand(200, 1, 24, 24) + 100 * torch.arange(24.0)[:, None]
    varied = vary(images, torch.rand(len(images), 3, generator=torch.Generator().manual_seed(0)))
    assert varied.shape == images.shape
    seen = set()
    for image in varied[:, 0]:
        rows, columns = image[:, 12] // 100, image[12] % 100
        mirrored = bool(columns[0] > columns[-1])
        columns = columns.flip(0) if mirrored else columns
        shift = (int(rows[12]) - 12, int(columns[12]) - 12)
        expected = [(torch.arange(24) + s).clamp(0, 23).float() for s in shift]
        assert torch.equal(rows, expected[0])
        assert torch.equal(columns, expected[1])
        seen.add((mirrored, *shift))
    assert {name[0] for name in seen} == {False, True}
    assert {name[1] for name in seen} == {name[2] for name in seen} == set(range(-2, 3))


def test_the_learning_rate_rises_and_falls():
    assert [one_cycle(t) for t in (0, 0.1, 0.2, 0.6, 1)] == pytest.approx([0, 0.5, 1, 0.5, 0])


def test_what_it_says_of_images_of_any_size_and_channels():
    judge = build_judge()
    x = torch.rand(4, 1, 32, 32) * 2 - 1
    shares = judge.probabilities(x)
    assert shares.shape == (4, 3)
    assert_close(shares.sum(1), torch.ones(4))
    assert_close(shares, judge.network(x).softmax(1))
    assert judge.features(x).shape == (4, 256)
    assert_close(judge.logits(x.expand(-1, 3, -1, -1)), judge.logits(x))
    larger = torch.nn.functional.interpolate(x, scale_factor=2)
    assert judge.logits(larger).shape == (4, 3)
    assert build_judge(channels=3).logits(x).shape == (4, 3)


def test_classes_are_matched_by_name():
    judge = build_judge()
    assert judge.table(["Sad", "ANGRY", "happy"]).tolist() == [2, 0, 1]
    for classes in (["angry", "happy"], ["angry", "happy", "sad", "joy"]):
        with pytest.raises(ValueError, match=r"knows the classes \['angry', 'happy', 'sad'\], asked about") as caught:
            judge.table(classes)
        assert str(classes) in str(caught.value)


# --- Files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_round_trip_by_bytes(tmp_path, architecture):
    judge = build_judge(architecture=architecture)
    path = judge.save(tmp_path / "sub" / "judge.safetensors")
    before = torch.get_rng_state()
    again = Judge.load(path)
    assert torch.equal(torch.get_rng_state(), before)
    assert same(judge, again)
    assert again.architecture == architecture
    assert [getattr(again, name) for name in FIELDS] == [getattr(judge, name) for name in FIELDS]
    assert again.save(tmp_path / "b").read_bytes() == path.read_bytes()
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["b", "judge.safetensors"]
    x = torch.rand(2, 1, 32, 32)
    assert torch.equal(again.logits(x), judge.logits(x))
    judge.accuracy = None
    assert Judge.load(judge.save(path)).accuracy is None


def test_a_failed_save_leaves_the_older_file(tmp_path, monkeypatch):
    path = build_judge().save(tmp_path / "judge.safetensors")
    before = path.read_bytes()

    def full(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("semantic_aug._io.save_file", full)
    with pytest.raises(OSError, match="No space"):
        build_judge().save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def rewrite(path, tensors=None, **changes):
    """Store the judge at ``path`` with a right digest, other tensors and other metadata (None: left out)."""
    with safe_open(path, "pt") as file:
        meta = json.loads(file.metadata()["judge"]) | changes
        kept = {name: file.get_tensor(name) for name in file.keys() if name != "digest"} | (tensors or {})
    meta = {name: value for name, value in meta.items() if value != "left out"}
    save_with_digest({n: t for n, t in kept.items() if t is not None}, path, {"judge": json.dumps(meta)})


def large_weights():
    state = build_judge().network.state_dict()
    return {name: torch.full_like(value, 1e6) for name, value in state.items() if name.endswith("weight")}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "semantic-aug-judge/2"}, "format and network are"),
        ({"network": "resnet50"}, "format and network are"),
        ({"network": ["vgg-small"]}, "format and network are"),
        ({"network": "vgg-small"}, "lacks tensor"),
        ({"classes": "left out"}, "'classes' is None, expected list"),
        ({"classes": ["a", "a", "b"]}, "different names"),
        ({"classes": ["a", "b", 3]}, "different names"),
        ({"classes": ["a", "b"]}, "'14.weight' has shape [3, 256], expected [2, 256]"),
        ({"channels": 2}, "2 channels"),
        ({"channels": True}, "'channels' is True, expected int"),
        ({"size": 1 << 40}, "size 1099511627776"),
        ({"accuracy": "high"}, "'accuracy' is 'high', expected float or NoneType"),
        ({"tensors": {"0.weight": None}}, "lacks tensor '0.weight'"),
        ({"tensors": {"more": torch.zeros(1)}}, "has the unexpected tensor 'more'"),
        ({"tensors": {"0.weight": torch.full((32, 1, 3, 3), float("nan"))}}, "'0.weight' holds NaN"),
        ({"tensors": {"0.weight": torch.full((32, 1, 3, 3), -3e38)}}, "'0.weight' holds 3e+38, expected at most 1e+06"),
        ({"tensors": large_weights()}, "logits of a white image are NaN"),
        ({"tensors": {"1.running_var": torch.full((32,), -1.0)}}, "'1.running_var' holds -1, expected variances"),
        ({"tensors": {"0.weight": torch.zeros(32, 1, 3, 3).half()}}, "is F16, expected F32"),
    ],
)
def test_a_changed_file_is_refused(tmp_path, changes, message):
    path = build_judge().save(tmp_path / "judge.safetensors")
    rewrite(path, **changes)
    with pytest.raises(JudgeError) as caught:
        Judge.load(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


@pytest.mark.parametrize("offset", [-1, -40_000, 600])
def test_a_flipped_bit_is_found(tmp_path, offset):
    path = build_judge().save(tmp_path / "judge.safetensors")
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)
    with pytest.raises(JudgeError, match=r"judge\.safetensors"):
        Judge.load(path)


def test_other_files_are_refused(tmp_path, saved):
    path = build_judge().save(tmp_path / "judge.safetensors")
    content = path.read_bytes()
    for broken in (content[:-1], content[:1000], b"", b"PK\x03\x04 a zip, as pickles come in"):
        path.write_bytes(broken)
        with pytest.raises(JudgeError, match="no safetensors file, or broken or cut off"):
            Judge.load(path)
    with pytest.raises(JudgeError, match="metadata has no 'judge'"):
        Judge.load(saved / "model.safetensors")
    for text in ("[1]", "{", "[" * 100_000):
        save_with_digest({"a": torch.zeros(1)}, path, {"judge": text})
        with pytest.raises(JudgeError):
            Judge.load(path)
    with pytest.raises(FileNotFoundError, match="expected a judge"):
        Judge.load(tmp_path / "nowhere")


@pytest.mark.gpu
def test_training_and_judging_on_a_gpu(folder):
    data = load_folder(folder, 1, 32)
    judge = train_judge(data, data, epochs=1, device="cuda", precision="bf16", say=lambda _: None)
    x = data.batch(slice(None))
    assert_close(judge.probabilities(x.cuda()).cpu(), judge.to("cpu").probabilities(x), atol=1e-2, rtol=0)
