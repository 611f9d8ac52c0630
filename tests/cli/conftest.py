"""The command line as a function, and as a process."""

import sys

import pytest

from semantic_aug.cli import main as cli
from tests.conftest import build_artifact

RUN = [sys.executable, "-m", "semantic_aug"]


def run(*arguments):
    return cli.main([str(argument) for argument in arguments])


def train_command(folder, output, *more):
    command = ("train", folder, "--output", output, "--preset", "tiny", "--device", "cpu", *more)
    return [*RUN, *(str(argument) for argument in command)]


@pytest.fixture
def measured(tmp_path):
    """A checkpoint that knows how well it reconstructs, which untrained networks do worse than an even grey."""
    artifact = build_artifact()
    artifact.reconstruction = {"l1_mean": 0.1, "l1_std": 0.02}
    return artifact.save(tmp_path / "measured")
