"""Commands that are killed, in a short round; ``python -m tests.kills`` kills them at every change of a file."""

import subprocess
import sys

import pytest

from tests.kills import COMMANDS


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_killed_command_leaves_whole_files_and_goes_on(name):
    command = [sys.executable, "-m", "tests.kills", "--command", name, "--random", "1", "--every", "7"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
