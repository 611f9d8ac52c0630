"""``semantic-aug app``: a page to play with, served on this machine."""

import argparse
from pathlib import Path

from semantic_aug.app import page
from semantic_aug.cli.data import sources_of
from semantic_aug.evaluation.classifier import Judge
from semantic_aug.model.artifact import Artifact


def run(options: argparse.Namespace) -> None:
    """Serve until Ctrl-C."""
    artifact = Artifact.load(options.checkpoint)
    judge = Judge.load(options.judge) if options.judge else None
    sources = sources_of(artifact, options, skip_bad=options.skip_bad)
    page.serve(
        artifact, Path(options.checkpoint).name, sources, judge, host=options.host, port=options.port,
        share=options.share,
    )  # fmt: skip
