"""``semantic-aug app``: the interactive demo, served on this machine."""

import argparse
from pathlib import Path

from semantic_aug.cli.options import CHECKPOINT, DATA_OR_EXAMPLES, WITH_EXAMPLES, Add

SUMMARY = "Serve the interactive demo on this machine (Gradio)."
EXAMPLE = "app fer2013-48 faces/validation"


def add_options(add: Add) -> None:
    """Describe the verb's options."""
    add("checkpoint", nargs="?", default=WITH_EXAMPLES, help=f"{CHECKPOINT} (default: {WITH_EXAMPLES})")
    add("data", nargs="?", help=DATA_OR_EXAMPLES)
    add("--judge", metavar="FILE", help="show the predictions of a judge that evaluate has kept")
    add(
        "--host",
        metavar="H",
        default="127.0.0.1",
        help="address to serve at (default: 127.0.0.1, for this machine alone)",
    )
    add("--port", metavar="P", type=int, help="default: the first free port from 7860 on")
    add("--share", action="store_true", help="also make a public link through Gradio's servers")
    add("--skip-bad")


def run(options: argparse.Namespace) -> None:
    """Serve until Ctrl-C."""
    from semantic_aug.app.page import serve
    from semantic_aug.cli.data import load_or_example
    from semantic_aug.evaluation.classifier import Judge
    from semantic_aug.model.artifact import Artifact

    artifact = Artifact.from_pretrained(options.checkpoint)
    judge = Judge.load(options.judge) if options.judge else None
    sources = load_or_example(artifact, options, skip_bad=options.skip_bad)
    name = Path(options.checkpoint).name
    serve(artifact, name, sources, judge, host=options.host, port=options.port, share=options.share)
