import pytest
import torch
from PIL import Image

from semantic_aug.data.source import DataError
from semantic_aug.figures.sources import EXAMPLES, PER_CLASS, SEED, TEMPERATURE, example_images
from semantic_aug.model.artifact import Artifact
from tests.conftest import build_artifact


def test_generated_images_are_of_every_class_and_always_alike():
    artifact = build_artifact()
    drawn = example_images(artifact)
    assert drawn.images.shape == (3 * PER_CLASS, 1, 32, 32)
    assert drawn.counts() == [PER_CLASS] * 3
    assert drawn.name is None, "no data set has them"
    assert torch.equal(drawn.images, example_images(artifact).images)


def test_pixels_are_rounded():
    artifact = build_artifact()
    exact = artifact.sample(0, PER_CLASS, torch.Generator().manual_seed(SEED), temperature=TEMPERATURE)
    drawn = example_images(artifact).images[:PER_CLASS]
    assert (drawn - ((exact + 1) / 2).clamp(0, 1) * 255).abs().max() < 0.5001


def test_the_examples_of_a_checkpoint_are_one_row_a_class(saved):
    images = torch.randint(256, (3, 2, 1, 32, 32), dtype=torch.uint8)
    rows = [torch.cat(list(row), dim=2) for row in images]
    Image.fromarray(torch.cat(rows, dim=1)[0].numpy()).save(saved / EXAMPLES)
    found = example_images(Artifact.from_pretrained(saved))
    assert torch.equal(found.images, images.flatten(0, 1))
    assert found.labels.tolist() == [0, 0, 1, 1, 2, 2]


def test_examples_of_another_size_are_refused(saved):
    Image.new("L", (40, 96)).save(saved / EXAMPLES)
    with pytest.raises(DataError, match=r"examples\.png has 40 x 96 pixels, expected 3 rows of images of 32 x 32"):
        example_images(Artifact.from_pretrained(saved))
