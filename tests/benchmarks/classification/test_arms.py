from dataclasses import replace

import pytest
import torch
from torch.nn.functional import one_hot

from benchmarks.classification.arms import PARTS, parse_arm
from benchmarks.classification.context import Context
from benchmarks.classification.digest import digest
from benchmarks.classification.protocol import resolve
from benchmarks.classification.semantic import open_latents
from semantic_aug._random import seeded
from semantic_aug.data.dataset import load_folder
from semantic_aug.latents import LatentCache, LatentsError
from tests.conftest import build_artifact

CPU = torch.device("cpu")
KEY = (0, 3, 0)  # seed, step, view
CHANGES = [name for name, part in PARTS.items() if part.change]
MIXES = [name for name, part in PARTS.items() if part.mix]


def make_context(root, name, **changed):
    data, artifact = load_folder(root / "train", 1, 32), build_artifact()
    settings = resolve(parse_arm(name), "natural", {"size": 32} | changed, artifact)
    return Context(data, settings, 0, CPU, artifact)


def apply(context, name, key=KEY):
    """What the changes of an arm make of all training images."""
    images = context.data.images
    for _, change in parse_arm(name).changes(context)[0]:
        images = change(images, context.data.labels, torch.arange(len(images)), key)
    return images


def test_an_arm_is_its_parts():
    assert parse_arm("none").views == ((),)
    assert not parse_arm("none").augments
    arm = parse_arm("ours+randaugment+cutmix")
    assert arm.parts == (PARTS["ours"], PARTS["randaugment"], PARTS["cutmix"])
    assert arm.augments
    assert arm.uses_checkpoint
    assert {"magnitude", "alpha", "strength", "mode"} <= arm.settings.keys()
    assert "tie" not in arm.settings
    tied = parse_arm("randaugment/ours+randaugment")
    assert [len(view) for view in tied.views] == [1, 2]
    assert tied.settings["tie"] == 1.0
    assert not parse_arm("isda").augments


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nonsense", "unknown arm 'nonsense': no part is named 'nonsense'; known: none, ours"),
        ("ours+none", "no part is named 'none'"),
        ("mixup+ours", "a part that mixes images .* must come last"),
        ("mixup+cutmix", "must come last"),
        ("mixup/ours", "must come last"),
        ("isda+mixup", "isda needs labels that are not mixed"),
        ("ours/ours/ours", "has 3 views; at most two are possible"),
    ],
)
def test_parts_that_do_not_go_together(name, message):
    with pytest.raises(ValueError, match=message):
        parse_arm(name)


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_of_some_images_and_keeps_their_kind(root, name):
    made = make_context(root, name, **({"p": 0.5} if "p" in PARTS[name].settings else {}))
    before = made.data.images.clone()
    changed = apply(made, name)
    assert torch.equal(made.data.images, before)
    assert (changed.dtype, changed.shape) == (torch.uint8, before.shape)
    different = (changed != before).flatten(1).any(1)
    assert 0 < different.sum() < len(before) + ("p" not in PARTS[name].settings)
    assert torch.equal(apply(made, name), changed)
    assert not torch.equal(apply(made, name, (0, 4, 0)), changed)


def test_the_second_part_sees_what_the_first_makes(root):
    made = make_context(root, "ours+randaugment", p=0.5)
    first = apply(made, "ours")
    assert not torch.equal(first, made.data.images)
    labels, indices = made.data.labels, torch.arange(len(made.data))
    expected = PARTS["randaugment"].change(made)(first, labels, indices, KEY)
    assert torch.equal(apply(made, "ours+randaugment"), expected)


@pytest.mark.parametrize("mode", ["decode", "detail"])
def test_smote_is_between_two_latents(root, mode):
    made = make_context(root, "smote", mode=mode, p=1.0, neighbours=1)
    data, artifact = made.data, made.artifact
    changed = apply(made, "smote")
    x = data.batch(slice(None))
    mu = artifact.encode(x)
    for i in range(0, len(data), 5):
        same = [j for j in range(len(data)) if j != i and data.labels[j] == data.labels[i]]
        nearest = min(same, key=lambda j: float((mu[j] - mu[i]).norm()))
        # Some u gives the image: the best of many explains it up to its rounding.
        path = mu[i] + torch.linspace(0, 1, 400)[:, None] * (mu[nearest] - mu[i])
        possible = (
            artifact.decode(path) if mode == "decode" else x[i] + artifact.decode(path) - artifact.decode(mu[[i]])
        )
        errors = (possible.clamp(-1, 1) - (changed[i].float() / 127.5 - 1)).abs().amax((1, 2, 3))
        assert errors.min() < 0.03


@pytest.mark.parametrize("name", ["isotropic", "pooled", "class-gaussian", "ours"])
def test_latent_parts_written_out(root, name):
    made = make_context(root, name, p=1.0, strength=0.3, mode="decode", redraw=0)
    data, artifact = made.data, made.artifact
    found = apply(made, name)
    generator = seeded("semantic", *KEY)
    torch.randperm(len(data), generator=generator), torch.rand(len(data), generator=generator)  # the coins
    noise = torch.randn(len(data), artifact.network.latent_dim, generator=generator)
    mu, statistics = artifact.encode(data.batch(slice(None))), artifact.statistics
    d = mu.shape[1]
    for i, label in enumerate(data.labels.tolist()):
        sigma = statistics.covariance(label)
        if name == "isotropic":
            sigma = sigma.trace() / d * torch.eye(d)
        elif name == "pooled":
            sigma = sum(statistics.count[k] * statistics.covariance(k, None) for k in range(3)) / statistics.count.sum()
        values, vectors = torch.linalg.eigh(sigma.double())
        step = (vectors * values.sqrt()).float().flip(1)  # the leading direction gets the first number
        if name == "isotropic":
            step = values.mean().sqrt().float() * torch.eye(d)
        centre = statistics.mean[label].float() if name == "class-gaussian" else mu[i]
        expected = artifact.decode((centre + 0.3**0.5 * (step @ noise[i]))[None])[0]
        error = (found[i].float() / 127.5 - 1 - expected).abs().max()
        assert error < 0.03, (name, i, float(error))


@pytest.mark.parametrize("name", MIXES)
def test_a_mix_makes_labels_soft_and_repeats(root, name):
    made = make_context(root, name)
    mix = parse_arm(name).mix(made)
    images, labels = made.data.batch(slice(0, 28)), made.data.labels[:28]

    def draw(step):
        with torch.random.fork_rng(devices=[]):
            return mix(images, labels, (0, step, 0), lambda indices, key: made.data.batch(indices))

    for step in range(6):
        mixed, soft = draw(step)
        torch.testing.assert_close(soft.sum(1), torch.ones(28))
        assert torch.equal(draw(step)[0], mixed)
    assert any(not torch.equal(draw(step)[0], images) for step in range(6))


def test_cmo_pastes_rare_images_onto_the_batch(root):
    made = make_context(root, "cmo", cmo_p=1.0)
    data, seen = made.data, []
    background = torch.zeros(28, 1, 32, 32)

    def prepare(indices, key):
        assert key == (*KEY[:1], seen_step, 0, "foreground")
        seen.append(indices)
        return torch.ones(len(indices), 1, 32, 32)

    mix = parse_arm("cmo").mix(made)
    for seen_step in range(30):
        mixed, soft = mix(background, data.labels, (0, seen_step, 0), prepare)
        share = mixed.mean((1, 2, 3))[:, None]  # of the foreground
        labels = one_hot(data.labels, 3), one_hot(data.labels[seen[-1]], 3)
        torch.testing.assert_close(soft, (1 - share) * labels[0] + share * labels[1])
    counts = torch.bincount(data.labels[torch.cat(seen)])
    assert counts.max() - counts.min() <= 30  # every class equally often, an epoch at a time
    with torch.random.fork_rng(devices=[]):
        never = parse_arm("cmo").mix(make_context(root, "cmo", cmo_p=0.0))
        mixed, soft = never(background, data.labels, KEY, prepare)
    assert torch.equal(mixed, background)
    assert torch.equal(soft, one_hot(data.labels, 3).float())


def test_all_images_are_drawn_at_once_and_anew_after_some_epochs(root):
    made = make_context(root, "ours", p=0.5, redraw=2, batch=7)  # 8 steps of 7 see 28 images twice
    data = made.data
    ((_, change),) = parse_arm("ours").changes(made)[0]

    def draw(step, view=0, indices=slice(None)):
        at = torch.arange(len(data))[indices]
        return change(data.images[at], data.labels[at], at, (0, step, view))

    everything = torch.stack([draw(step) for step in range(24)])
    changed = (everything != data.images).flatten(2).any(2)
    assert 0.4 < changed.float().mean() < 0.6  # the coins of 24 x 28 images
    for i in range(len(data)):
        versions = [everything[8 * k : 8 * k + 8, i][changed[8 * k : 8 * k + 8, i]] for k in range(3)]
        assert all(len(version.unique(dim=0)) <= 1 for version in versions)
        assert len(torch.cat(versions).unique(dim=0)) == sum(len(version) > 0 for version in versions)
    assert not torch.equal(draw(3, view=1), draw(3))


def test_latents_are_encoded_once_and_a_stale_cache_is_refused(root, tmp_path, monkeypatch):
    made = replace(make_context(root, "ours"), cache=tmp_path / "cache")
    first = open_latents(made)
    (path,) = (tmp_path / "cache").iterdir()
    monkeypatch.setattr(LatentCache, "build", lambda *_, **__: pytest.fail("encoded again"))
    again = open_latents(made)
    assert torch.equal(first.mu, again.mu)
    assert torch.equal(first.reconstruction, again.reconstruction)
    other = replace(made, data=made.data.subset(range(27, -1, -1)))
    stale = path.with_name(path.name.replace(digest(made.data), digest(other.data)))
    path.rename(stale)
    with pytest.raises(LatentsError, match="is stale, other images, or in another order"):
        open_latents(other)
    stale.write_bytes(b"half a file")
    with pytest.raises(LatentsError, match="broken or cut off"):
        open_latents(other)
