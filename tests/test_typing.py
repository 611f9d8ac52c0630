"""The types of the public names, as a user's type checker sees them."""

import subprocess
import sys
from pathlib import Path

import pytest

import semantic_aug

PROGRAM = Path(__file__).with_name("typed_program.py")


def test_the_typed_program_uses_every_public_name():
    _, imported, program = PROGRAM.read_text().partition("\n\nversion: str")
    assert imported
    assert [name for name in semantic_aug.__all__ if name not in program] == []


@pytest.mark.slow
def test_mypy_strict_accepts_a_users_program(tmp_path):
    """Outside the project, so that none of its settings apply. Wrong uses in it must be errors."""
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache", PROGRAM]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
