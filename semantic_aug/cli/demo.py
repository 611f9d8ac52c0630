"""``semantic-aug demo``: a picture of a checkpoint at work."""

import argparse

from semantic_aug.cli.options import CHECKPOINT, DATA_OR_EXAMPLES, WITH_EXAMPLES, Add
from semantic_aug.cli.paths import png

SUMMARY = "Draw a picture of what a checkpoint does to an image of each class."
EXAMPLE = "demo path/to/images"
PICTURE = "semantic-aug-demo.png"
DEFAULT_CHECKPOINT = "fer2013-48"


def add_options(add: Add) -> None:
    """Describe the verb's options."""
    add("data", nargs="?", help=DATA_OR_EXAMPLES)
    default = f"default: {DEFAULT_CHECKPOINT} with DATA, {WITH_EXAMPLES} without"
    add("--checkpoint", metavar="CHECKPOINT", help=f"{CHECKPOINT} ({default})")
    add("--output", metavar="PNG", default=PICTURE, help=f"file to write (default: {PICTURE})")


def run(options: argparse.Namespace) -> None:
    """Write the overview of an image of each class to ``--output``, and print how to read it."""
    from semantic_aug.cli.data import load_or_example
    from semantic_aug.figures import drawing
    from semantic_aug.model.artifact import Artifact

    output = png(options.output, "--output")
    checkpoint = options.checkpoint or (WITH_EXAMPLES if options.data is None else DEFAULT_CHECKPOINT)
    artifact = Artifact.from_pretrained(checkpoint)
    sources = load_or_example(artifact, options, skip_bad=True)
    chosen = drawing.first_of_each_class(sources.labels)
    drawing.save(drawing.overview(artifact, sources.images[chosen], sources.labels[chosen]), output)
    print(f"wrote {output}")
    print("columns: the original, its reconstruction, and augmentations at the recommended strength in both modes")
    print(f'next: augment your own images with SemanticAugment(checkpoint="{checkpoint}")')
