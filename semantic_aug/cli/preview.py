"""``semantic-aug preview``: draw pictures of what a checkpoint does."""

import argparse
from pathlib import Path

from semantic_aug.cli.options import DATA_OR_EXAMPLES, Add
from semantic_aug.cli.paths import writable

SUMMARY = "Draw pictures of what a checkpoint does: one as PNG, or all as an HTML page that works offline."
EXAMPLE = "preview fer2013-48 faces/validation --output page.html"


def add_options(add: Add) -> None:
    """Describe the verb's options."""
    add("checkpoint")
    add("data", nargs="?", help=DATA_OR_EXAMPLES)
    add(
        "--output", metavar="FILE", required=True, help="NAME.png for one figure, NAME.html for a page with all of them"
    )
    add(
        "--figure",
        metavar="NAME",
        help="pairs, augmentations, strengths, directions, balanced, samples, overview or counts (default: all on a "
        "page; as PNG overview, or samples if there is no DATA)",
    )
    add(
        "--per-class",
        metavar="N",
        type=int,
        default=1,
        help="images of each class in a figure that shows some (default: 1)",
    )
    add("--seed")
    add("--skip-bad")


def run(options: argparse.Namespace) -> None:
    """Write one figure as PNG, or all of them as an HTML page."""
    from semantic_aug.cli.data import load_or_example
    from semantic_aug.figures import drawing, html
    from semantic_aug.figures.figures import FIGURES
    from semantic_aug.model.artifact import Artifact

    output = writable(options.output)
    whole_page = output.suffix.lower() == ".html"
    if not whole_page and output.suffix.lower() != ".png":
        raise ValueError(f"--output must end in .png or .html, got {output.name}")
    if options.per_class < 1:
        raise ValueError(f"--per-class must be at least 1, got {options.per_class}")
    if options.figure is not None and options.figure not in FIGURES:
        raise ValueError(f"unknown figure {options.figure!r}; there are {', '.join(FIGURES)}")
    default = list(FIGURES) if whole_page else ["overview" if options.data else "samples"]
    artifact = Artifact.from_pretrained(options.checkpoint)
    sources = load_or_example(artifact, options, skip_bad=options.skip_bad)
    figures = {
        name: FIGURES[name](artifact, sources, per_class=options.per_class, seed=options.seed)
        for name in ([options.figure] if options.figure else default)
    }
    if whole_page:
        html.save(html.page(artifact, Path(options.checkpoint).name, sources, figures, options.command), output)
    else:
        (figure,) = figures.values()
        drawing.save(figure.picture(), output)
    print(f"wrote {output}{'; open it in a browser' * whole_page}")
