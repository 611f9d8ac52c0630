"""``semantic-aug preview``: pictures of what a checkpoint does."""

import argparse
from pathlib import Path

from semantic_aug.cli.data import sources_of
from semantic_aug.cli.paths import writable
from semantic_aug.figures import drawing, html
from semantic_aug.figures.figures import FIGURES
from semantic_aug.model.artifact import Artifact


def run(options: argparse.Namespace) -> None:
    """Write one figure as PNG, or all of them as an HTML page."""
    output = writable(options.output)
    whole_page = output.suffix.lower() == ".html"
    if not whole_page and output.suffix.lower() != ".png":
        raise ValueError(f"--output must end in .png or .html, got {output.name}")
    if options.per_class < 1:
        raise ValueError(f"--per-class must be at least 1, got {options.per_class}")
    if options.figure is not None and options.figure not in FIGURES:
        raise ValueError(f"unknown figure {options.figure!r}; there are {', '.join(FIGURES)}")
    default = list(FIGURES) if whole_page else ["overview" if options.data else "samples"]
    artifact = Artifact.load(options.checkpoint)
    sources = sources_of(artifact, options, skip_bad=options.skip_bad)
    figures = {
        name: FIGURES[name](artifact, sources, per_class=options.per_class, seed=options.seed)
        for name in ([options.figure] if options.figure else default)
    }
    if whole_page:
        html.save(html.page(artifact, Path(options.checkpoint).name, sources, figures, options.command), output)
    else:
        (figure,) = figures.values()
        drawing.save(figure.picture(), output)
    print(f"wrote {output}")
