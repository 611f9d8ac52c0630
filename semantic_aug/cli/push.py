"""``semantic-aug push``: upload a checkpoint to the Hugging Face Hub."""

import argparse

from semantic_aug.cli.options import Add

SUMMARY = "Upload a checkpoint to the Hugging Face Hub, with the pictures preview.png and samples.png beside it."
EXAMPLE = "push my-checkpoint user/repo --tag v1.0"


def add_options(add: Add) -> None:
    """Describe the verb's options."""
    add("checkpoint")
    add(
        "repository",
        metavar="USER/REPO",
        help="created if it does not exist; uses HF_TOKEN, or the token that `hf auth login` stored",
    )
    add("--private", action="store_true", default=None, help="make a new repository private")
    add("--tag", metavar="NAME", help="a new name for this state of the repository, such as v1.0")
    add("--license", metavar="ID", help="for the card of a checkpoint that has none, such as apache-2.0")
    add("--message", metavar="TEXT", help="what the commit says")


def run(options: argparse.Namespace) -> None:
    """Upload the checkpoint, and print how to load it from there."""
    from semantic_aug.model.artifact import Artifact

    pushed = Artifact.from_pretrained(options.checkpoint).push_to_hub(
        options.repository,
        private=options.private,
        tag=options.tag,
        license=options.license,
        commit_message=options.message,
    )
    print(f'pushed; load it with SemanticAugment(checkpoint="{pushed}")')
