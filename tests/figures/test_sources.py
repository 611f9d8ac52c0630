import torch

from semantic_aug.figures.sources import PER_CLASS, SEED, TEMPERATURE, draw_sources
from tests.conftest import build_artifact


def test_every_class_is_drawn_and_always_alike():
    artifact = build_artifact()
    drawn = draw_sources(artifact)
    assert drawn.images.shape == (3 * PER_CLASS, 1, 32, 32)
    assert drawn.counts() == [PER_CLASS] * 3
    assert drawn.name is None, "no data set has them"
    assert torch.equal(drawn.images, draw_sources(artifact).images)


def test_pixels_are_rounded():
    artifact = build_artifact()
    exact = artifact.sample(0, PER_CLASS, torch.Generator().manual_seed(SEED), temperature=TEMPERATURE)
    drawn = draw_sources(artifact).images[:PER_CLASS]
    assert (drawn - ((exact + 1) / 2).clamp(0, 1) * 255).abs().max() < 0.5001
