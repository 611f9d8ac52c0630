"""The bundled checkpoints: what their cards say is so."""

import os
import re
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from semantic_aug import Artifact, SemanticAugment
from semantic_aug.hub import bundled
from semantic_aug.networks import PRESETS

DIRECTORY = bundled()["fer2013-48"]


@pytest.fixture(scope="module")
def shipped():
    return Artifact.load("fer2013-48")


@pytest.mark.parametrize(("name", "most_bytes"), [("fer2013-48", 12e6), ("fashion-mnist-32", 3e6)])
def test_a_checkpoint_is_small_and_its_card_has_its_figures(name, most_bytes):
    from huggingface_hub import ModelCard

    directory = bundled()[name]
    artifact = Artifact.load(name)
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
    assert PRESETS[name] == artifact.network


def test_every_bundled_checkpoint_is_tested():
    assert set(bundled()) == {"fer2013-48", "fashion-mnist-32"}


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


def test_the_figures_are_what_the_program_measures(shipped, fer2013):
    """On FER2013's validation split, with the real LPIPS trunk."""
    from semantic_aug.trainer.data import load_folder
    from semantic_aug.trainer.evaluate import reconstruction
    from semantic_aug.trainer.perceptual import Perceptual

    home = Path(os.environ.get("TORCH_HOME", Path.home() / ".cache" / "torch"))
    if not (home / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth").is_file():
        pytest.skip(f"no SqueezeNet weights below {home}: TORCH_HOME names a folder that has them")
    figures = reconstruction(shipped, load_folder(fer2013 / "validation", 1, 48), Perceptual())
    assert figures["images"] == 3589
    for name in ("l1_mean", "lpips_mean"):
        assert figures[name] == pytest.approx(shipped.reconstruction[name], abs=2e-3), name
    assert figures["l1_mean"] <= 0.145
    assert figures["lpips_mean"] <= 0.085


def test_the_statistics_are_those_of_the_training_images(shipped, fer2013):
    from semantic_aug.trainer.data import load_folder
    from semantic_aug.trainer.fit import fit_statistics

    found = fit_statistics(shipped.encoder, load_folder(fer2013 / "train", 1, 48))
    assert found.count.tolist() == shipped.statistics.count.tolist()
    assert_close(found.mean, shipped.statistics.mean, rtol=0, atol=0.02)
    for label in range(7):
        a, b = found.covariance(label, None), shipped.statistics.covariance(label, None)
        assert float((a - b).norm() / b.norm()) < 0.02


def test_the_domain_check_knows_faces_from_noise(shipped, fer2013, recwarn):
    from semantic_aug.trainer.data import load_folder

    faces = load_folder(fer2013 / "test", 1, 48).images[::40]
    augment = SemanticAugment(1.0)
    augment(faces)
    assert not [warning for warning in recwarn if issubclass(warning.category, UserWarning)]
    with pytest.warns(UserWarning, match="trained on"):
        SemanticAugment(1.0)(torch.rand(64, 1, 48, 48))
