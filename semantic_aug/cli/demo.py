"""``semantic-aug demo``: a checkpoint at work, per sample and per batch."""

import argparse

from semantic_aug.cli.data import sources_of
from semantic_aug.cli.demonstration import measure
from semantic_aug.cli.paths import png
from semantic_aug.figures import drawing
from semantic_aug.model.artifact import Artifact


def run(options: argparse.Namespace) -> None:
    """Print how fast it is, and write the overview of an image of each class to ``--output``."""
    output = png(options.output, "--output")
    artifact = Artifact.load(options.checkpoint)
    if options.data is None:
        print(f"no DATA given: the sources are drawn by {options.checkpoint} itself, of nobody")
    sources = sources_of(artifact, options, skip_bad=True)
    for line in measure(artifact, sources.images, sources.labels):
        print(line)
    chosen = drawing.first_of_each_class(sources.labels)
    drawing.save(drawing.overview(artifact, sources.images[chosen], sources.labels[chosen]), output)
    print(f"wrote {output}")
