"""``semantic-aug inspect``: show the content of a checkpoint."""

import argparse

from semantic_aug.cli.options import Add

SUMMARY = "Show the content of a checkpoint: classes, counts, sizes, hashes and measurements."
EXAMPLE = "inspect fer2013-48"


def add_options(add: Add) -> None:
    """Describe the verb's options."""
    add("checkpoint")


def run(options: argparse.Namespace) -> None:
    """Print the checkpoint's classes, sizes, hashes and measurements."""
    from semantic_aug._files import read_json
    from semantic_aug.cli.data import say
    from semantic_aug.model.artifact import Artifact
    from semantic_aug.model.hub import CONFIG

    artifact = Artifact.from_pretrained(options.checkpoint)
    assert artifact.directory is not None
    config = read_json(artifact.directory / CONFIG)
    lines = [f"{config['format']} at {artifact.directory}", "classes (training images)"]
    for name, count in zip(artifact.classes, config["counts"], strict=True):
        lines.append(f"  {name:<20} {count:>9}")
    for name, network in (("encoder", artifact.encoder), ("generator", artifact.generator)):
        lines.append(f"{name}: {sum(parameter.numel() for parameter in network.parameters())} parameters")
    for name, file in config["files"].items():
        lines.append(f"{name}: {file['bytes']} bytes, sha256 {file['sha256']}")
    for section in ("network", "recommended", "reconstruction", "training"):
        lines += [section, *(f"  {name}: {value}" for name, value in config[section].items())]
    say(*lines)
