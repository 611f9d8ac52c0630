"""The images that DATA names, and what is said of them."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from semantic_aug.cli.demonstration import draw
from semantic_aug.data.dataset import ImageSet, load_data
from semantic_aug.figures.figures import Sources
from semantic_aug.model.artifact import Artifact
from semantic_aug.model.domain import IMAGES, Domain


def load(artifact: Artifact, folder: str, *, skip_bad: bool, same_classes: bool = True) -> ImageSet:
    """An image folder as the artifact takes it; with ``same_classes`` its labels are mapped by name."""
    network = artifact.network
    data = load_data(folder, network.channels, network.image_size, skip_bad=skip_bad)
    say_skipped(data.skipped)
    return data.with_classes(artifact.classes) if same_classes else data


def sources_of(artifact: Artifact, options: argparse.Namespace, *, skip_bad: bool) -> Sources:
    """The images of DATA, or, without it, images that the artifact draws."""
    if options.data is None:
        return Sources(*draw(artifact))
    data = load(artifact, options.data, skip_bad=skip_bad)
    folder = Path(options.data)
    name = folder.resolve().name if folder.is_dir() else options.data.partition("@")[0]  # no path of this machine
    return Sources(data.images, data.labels, name)


def warn_of_strangers(artifact: Artifact, read: Callable[[int], Tensor], n: int) -> None:
    """Look at some of ``n`` images, each (1, channels, S, S) in [-1, 1], and say if they are not the checkpoint's."""
    domain = Domain()
    for number in sorted({i * n // IMAGES for i in range(IMAGES)}):
        domain.look(read(number).to(artifact.device), artifact)
    complaint = domain.complaint(artifact)
    if complaint:
        print(f"warning: {complaint}", file=sys.stderr)


def say_skipped(skipped: int) -> None:
    """Say how many images are left out, if any."""
    if skipped:
        print(f"left out {skipped} images that cannot be read")
