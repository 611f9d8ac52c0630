"""The images that DATA names, and messages about them."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TextIO

from torch import Tensor

from semantic_aug._distributed import rank_and_world
from semantic_aug._text import printable
from semantic_aug.cli.paths import without_folders
from semantic_aug.data.dataset import ImageSet, load_data
from semantic_aug.data.find import find_source
from semantic_aug.data.source import Source
from semantic_aug.figures.sources import draw_sources
from semantic_aug.labels import label_table
from semantic_aug.model.artifact import Artifact
from semantic_aug.model.domain import IMAGES, Domain

LISTED = 12  # classes that are named one by one


def find(spec: str, *, file: TextIO | None = None) -> Source:
    """Find the source that DATA names, and print its classes and counts before any image is read."""
    source = find_source(spec)
    say(*describe(source.origin, source.classes, source.counts()), file=file)
    return source


def load(
    artifact: Artifact, spec: str, *, skip_bad: bool, same_classes: bool = True, file: TextIO | None = None
) -> ImageSet:
    """Load the images of DATA at the artifact's size. With ``same_classes``, their labels are mapped by name."""
    source = find(spec, file=file)
    if same_classes:
        label_table(source.classes, artifact.classes)  # raises for other classes before any image is read
    network = artifact.network
    data = load_data(source, network.channels, network.image_size, skip_bad=skip_bad)
    say_skipped(data.skipped, file=file)
    return data.with_classes(artifact.classes) if same_classes else data


def load_or_draw(artifact: Artifact, options: argparse.Namespace, *, skip_bad: bool) -> ImageSet:
    """Load the images of DATA, or generate images with the artifact if there is no DATA."""
    if options.data is None:
        say(f"no DATA given, so the images are drawn by {options.checkpoint} and do not show real people")
        return draw_sources(artifact)
    data = load(artifact, options.data, skip_bad=skip_bad)
    return replace(data, name=without_folders(options.data).removeprefix("folder:"))


def describe(name: str, classes: Sequence[str], counts: Sequence[int]) -> list[str]:
    """A line with the number of images of every class, and one with the classes that have only one image, if any."""
    images, kinds = sum(counts), len(classes)
    entries = [f"{each} {count}" for each, count in zip(classes, counts, strict=True)]
    if kinds > LISTED:
        most_first = sorted(range(kinds), key=lambda label: -counts[label])
        ends = [[entries[label] for label in part] for part in (most_first[:5], most_first[-3:])]
        entries = [*ends[0], "...", *ends[1]]
    lines = [f"{name}: {images} image{'s' * (images != 1)} of {kinds} class{'es' * (kinds != 1)}: {', '.join(entries)}"]
    single = [each for each, count in zip(classes, counts, strict=True) if count == 1]
    if single:
        lines.append(f"one image only: {', '.join(single[:LISTED])}{', ...' * (len(single) > LISTED)}")
    return lines


def say(*lines: str, file: TextIO | None = None) -> None:
    """Print, but only in the first of several processes."""
    if rank_and_world()[0] == 0:
        for line in lines:
            print(printable(line), file=file, flush=True)


def say_skipped(skipped: int, *, file: TextIO | None = None) -> None:
    """Print how many images were skipped, if any."""
    if skipped:
        say(f"left out {skipped} image{'s' * (skipped != 1)} that cannot be read", file=file)


def warn_of_strangers(artifact: Artifact, read: Callable[[int], Tensor], n: int) -> None:
    """Look at some of ``n`` images, each (1, channels, S, S) in [-1, 1], and warn if they do not suit the artifact."""
    domain = Domain(artifact)
    for number in sorted({i * n // IMAGES for i in range(IMAGES)}):
        domain.look(read(number).to(artifact.device), artifact)
    complaint = domain.complaint()
    if complaint:
        print(f"warning: {complaint}", file=sys.stderr)
