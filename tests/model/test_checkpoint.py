"""The bundled checkpoints: what their cards say is so."""

import os
import re
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_digits
from torch.testing import assert_close
from torchvision.transforms import v2

from semantic_aug import Artifact, SemanticAugment
from semantic_aug.functional import model_input
from semantic_aug.images import tensor_to_unit
from semantic_aug.model.hub import bundled
from semantic_aug.model.networks import PRESETS
from tests.model.test_domain import looked_at

DIRECTORY = bundled()["fer2013-48"]


@pytest.fixture(scope="module")
def shipped():
    return Artifact.from_pretrained("fer2013-48")


@pytest.mark.parametrize(
    ("name", "preset", "most_bytes"),
    [
        ("fer2013-48", "fer2013-48", 16e6),
        ("fashion-mnist-32", "fashion-mnist-32", 6e6),
        ("cifar10-lt-32", "rgb-32", 12e6),
    ],
)
def test_a_checkpoint_is_small_and_its_card_has_its_figures(name, preset, most_bytes):
    from huggingface_hub import ModelCard

    directory = bundled()[name]
    artifact = Artifact.from_pretrained(name)
    assert sum(path.stat().st_size for path in directory.iterdir()) <= most_bytes
    card = ModelCard.load(directory / "README.md")
    assert card.data.license
    assert card.data.library_name == "semantic-aug"
    for figure in ("l1_mean", "lpips_mean"):
        assert f"{artifact.reconstruction[figure]:.4f}" in card.text, figure
    assert f"{artifact.training['images_seen']:,}".replace(",", " ") in card.text
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", card.text)
    assert pictures
    for target in pictures:
        assert (directory / target).exists()
    assert artifact.network == PRESETS[preset]


def test_every_bundled_checkpoint_is_tested():
    assert set(bundled()) == {"fer2013-48", "fashion-mnist-32", "cifar10-lt-32"}


def test_it_is_the_default(shipped):
    assert shipped.directory == DIRECTORY
    assert SemanticAugment().artifact.directory == DIRECTORY
    assert shipped.classes == ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
    assert shipped.statistics.count.tolist() == [3995, 436, 4097, 7215, 4965, 4830, 3171]
    assert (shipped.network.image_size, shipped.network.channels) == (48, 1)


def test_draws_differ_and_strength_grows(shipped):
    image = shipped.sample(3, 1, torch.Generator().manual_seed(0))[0] / 2 + 0.5
    changes = []
    for strength in (0.1, 0.5, 2.0):
        torch.manual_seed(0)
        draws = SemanticAugment(1.0, strength, domain_check=False)(image.clamp(0, 1).expand(32, -1, -1, -1))
        assert len(draws.flatten(1).unique(dim=0)) == 32
        changes.append(float((draws - image).abs().mean()))
    assert 0.01 < changes[0] < changes[1] < changes[2]


def test_latents_of_every_class_are_used(shipped):
    """Posterior collapse would leave variances near 0, a diverged encoder huge ones."""
    for label in range(7):
        variances = shipped.statistics.covariance(label, None).diagonal()
        assert (variances > 1e-3).float().mean() > 0.5
        assert variances.max() < 100


@pytest.mark.parametrize("step", [12, pytest.param(1, marks=pytest.mark.slow)], ids=["every twelfth", "all"])
def test_the_figures_are_what_the_program_measures(shipped, fer2013, step):
    """On FER2013's validation split, with the real LPIPS trunk; a part's mean may be four standard errors off."""
    from semantic_aug.data.dataset import load_folder
    from semantic_aug.evaluation.lpips import Perceptual
    from semantic_aug.evaluation.quality import reconstruction

    home = Path(os.environ.get("TORCH_HOME", Path.home() / ".cache" / "torch"))
    if not (home / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth").is_file():
        pytest.skip(f"no SqueezeNet weights below {home}: TORCH_HOME names a folder that has them")
    data = load_folder(fer2013 / "validation", 1, 48)
    assert len(data) == 3589
    part = data.subset(range(0, 3589, step))
    figures, stored = reconstruction(shipped, part, Perceptual()), shipped.reconstruction
    for name in ("l1", "lpips"):
        error = stored[f"{name}_std"] * (1 / len(part) - 1 / len(data)) ** 0.5  # drawn without putting back
        assert figures[f"{name}_mean"] == pytest.approx(stored[f"{name}_mean"], abs=2e-3 + 4 * error), name
    assert stored["l1_mean"] <= 0.085
    assert stored["lpips_mean"] <= 0.05


@pytest.mark.parametrize(
    "labels", [[1, 6], pytest.param(list(range(7)), marks=pytest.mark.slow)], ids=["the rarest two", "all"]
)
def test_the_statistics_are_those_of_the_training_images(shipped, fer2013, tmp_path, labels):
    from semantic_aug.data.dataset import load_folder
    from semantic_aug.trainer.fit import fit_statistics

    for label in labels:
        (tmp_path / shipped.classes[label]).symlink_to(fer2013 / "train" / shipped.classes[label])
    found = fit_statistics(shipped.encoder, load_folder(tmp_path, 1, 48))
    assert found.count.tolist() == shipped.statistics.count[labels].tolist()
    assert_close(found.mean, shipped.statistics.mean[labels], rtol=0, atol=0.02)
    for i, label in enumerate(labels):
        a, b = found.covariance(i, None), shipped.statistics.covariance(label, None)
        assert float((a - b).norm() / b.norm()) < 0.02


FACES_STILL = {
    "as they are": lambda images: images,
    "mirrored": v2.functional.horizontal_flip,
    "other light": v2.Lambda(lambda images: torch.stack([v2.ColorJitter(0.4, 0.4)(image) for image in images])),
    "cropped": v2.Lambda(lambda images: torch.stack([v2.RandomResizedCrop(48, (0.8, 1.0))(image) for image in images])),
    "one face again and again": lambda images: images[:1].expand(64, -1, -1, -1),
}


@pytest.fixture(scope="module")
def faces(fer2013):
    """64 of the test images."""
    from semantic_aug.data.folder import open_folder

    source = open_folder(fer2013 / "test")
    drawn = torch.randperm(len(source), generator=torch.Generator().manual_seed(0))[:64]
    return torch.stack([source.read(number, 1, 48) for number in drawn.tolist()])


def complaint(images, artifact):
    """What a transform would warn of, which is tested with tiny networks."""
    return looked_at(model_input(tensor_to_unit(images), artifact.network), artifact)


@pytest.mark.parametrize("change", FACES_STILL)
def test_the_domain_check_lets_faces_pass(shipped, faces, change):
    assert complaint(FACES_STILL[change](faces), shipped) is None


def scratched_metal():
    generator = torch.Generator().manual_seed(0)
    images = v2.functional.resize(torch.rand(64, 1, 6, 6, generator=generator) * 0.1 + 0.5, [48, 48])
    images += 0.03 * torch.randn(64, 1, 48, 48, generator=generator)
    images[::2, :, 20:22, 5:40] += 0.3
    return images.clamp(0, 1)


NO_FACES = {
    "noise": lambda: torch.rand(64, 1, 48, 48),
    "digits": lambda: torch.from_numpy(load_digits().images[:64, None] / 16).float(),
    "metal": scratched_metal,
    "black": lambda: torch.zeros(64, 3, 48, 48),
}


@pytest.mark.parametrize("images", NO_FACES)
def test_the_domain_check_knows_what_is_no_face(shipped, images):
    assert "do not look like what the checkpoint was trained on" in complaint(NO_FACES[images](), shipped)
