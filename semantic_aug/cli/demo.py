"""``semantic-aug demo``: a checkpoint at work, per sample and per batch."""

import argparse

from semantic_aug.cli.options import CHECKPOINT, DRAWN, Add
from semantic_aug.cli.paths import png

SUMMARY = "See a checkpoint at work, per sample and per batch."
EXAMPLE = "demo path/to/images"
PICTURE = "semantic-aug-demo.png"


def add_options(add: Add) -> None:
    """Describe the verb's options."""
    add("data", nargs="?", help=DRAWN)
    add("--checkpoint", metavar="CHECKPOINT", default="fer2013-48", help=f"{CHECKPOINT} (default: fer2013-48)")
    add("--output", metavar="PNG", default=PICTURE, help=f"file to write (default: {PICTURE})")


def run(options: argparse.Namespace) -> None:
    """Print how fast the augmentation is, and write the overview of an image of each class to ``--output``."""
    from semantic_aug.cli.data import load_or_draw
    from semantic_aug.cli.pipelines import measure
    from semantic_aug.figures import drawing
    from semantic_aug.model.artifact import Artifact

    output = png(options.output, "--output")
    artifact = Artifact.from_pretrained(options.checkpoint)
    sources = load_or_draw(artifact, options, skip_bad=True)
    for line in measure(artifact, sources.images, sources.labels):
        print(line)
    chosen = drawing.first_of_each_class(sources.labels)
    drawing.save(drawing.overview(artifact, sources.images[chosen], sources.labels[chosen]), output)
    print(f"wrote {output}")
