"""``semantic-aug push``: a checkpoint to the Hugging Face Hub."""

import argparse

from semantic_aug.model.artifact import Artifact


def run(options: argparse.Namespace) -> None:
    """Upload it, and print how to load it from there."""
    artifact = Artifact.load(options.checkpoint)
    pushed = artifact.push_to_hub(
        options.repository, private=options.private, tag=options.tag, license=options.license,
        commit_message=options.message,
    )  # fmt: skip
    print(f'pushed; load it with SemanticAugment(checkpoint="{pushed}")')
