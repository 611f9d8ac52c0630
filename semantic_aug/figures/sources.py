"""Images that show what a checkpoint does if there is no data."""

from pathlib import Path

import torch

from semantic_aug.data.dataset import ImageSet
from semantic_aug.data.source import DataError
from semantic_aug.figures.drawing import to_bytes
from semantic_aug.images import file_to_bytes
from semantic_aug.model.artifact import Artifact

EXAMPLES = "examples.png"  # beside the artifact: images that may be shown, one row for each class
PER_CLASS = 8
SEED = 160
TEMPERATURE = 0.8  # lower than in training, so that the images look like the training images


def example_images(artifact: Artifact) -> ImageSet:
    """The images of ``examples.png`` in the artifact's directory, or generated ones if it has none.

    The file has one row for each class, of images of the artifact's size without gaps. The set of generated images has
    no name. Raises DataError for a file of another size, and as ``file_to_bytes`` does for one that cannot be read.
    """
    path = artifact.directory / EXAMPLES if artifact.directory is not None else None
    if path is None or not path.exists():
        return generate(artifact)
    network, rows = artifact.network, len(artifact.classes)
    size = network.image_size
    picture = file_to_bytes(str(path), network.channels)
    _, height, width = picture.shape
    if height != rows * size or width % size:
        raise DataError(f"{path} has {width} x {height} pixels, expected {rows} rows of images of {size} x {size}")
    images = picture.unflatten(1, (rows, size)).unflatten(3, (-1, size)).permute(1, 3, 0, 2, 4).flatten(0, 1)
    return _image_set(artifact, images.contiguous(), "the examples of the checkpoint")


def generate(artifact: Artifact) -> ImageSet:
    """``PER_CLASS`` new images of every class, always the same ones. They do not show real people."""
    generator = torch.Generator().manual_seed(SEED)
    drawn = [
        artifact.sample(label, PER_CLASS, generator, temperature=TEMPERATURE) for label in range(len(artifact.classes))
    ]
    return _image_set(artifact, to_bytes(torch.cat(drawn)), None)


def _image_set(artifact: Artifact, images: torch.Tensor, name: str | None) -> ImageSet:
    labels = torch.arange(len(artifact.classes)).repeat_interleave(len(images) // len(artifact.classes))
    files = [Path(f"example/{number}") for number in range(len(labels))]
    return ImageSet(images, labels, artifact.classes, files, name=name)
