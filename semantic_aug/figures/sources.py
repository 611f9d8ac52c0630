"""Images that a checkpoint draws itself, to show what it does where there is no data."""

from pathlib import Path

import torch

from semantic_aug.data.dataset import ImageSet
from semantic_aug.figures.drawing import to_bytes
from semantic_aug.model.artifact import Artifact

PER_CLASS = 8
SEED = 160  # with it a judge classifier reads the class of each first face of fer2013-48, which the picture shows
TEMPERATURE = 0.8  # lower than in training, so that the images look like those that a checkpoint was trained on


def draw_sources(artifact: Artifact) -> ImageSet:
    """``PER_CLASS`` new images of every class, always the same ones; they show nobody."""
    generator = torch.Generator().manual_seed(SEED)
    drawn = [
        artifact.sample(label, PER_CLASS, generator, temperature=TEMPERATURE) for label in range(len(artifact.classes))
    ]
    labels = torch.arange(len(artifact.classes)).repeat_interleave(PER_CLASS)
    files = [Path(f"drawn/{number}") for number in range(len(labels))]
    return ImageSet(to_bytes(torch.cat(drawn)), labels, artifact.classes, files)
