"""The README's code blocks and commands, run as they stand (training at tiny size)."""

import re
import shlex
from pathlib import Path

import pytest

from semantic_aug import cli
from semantic_aug.artifact import Artifact
from tests.conftest import write_folder

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with ``faces/train`` and ``faces/validation``, the current one."""
    classes = Artifact.load("fer2013-48").classes
    for split in ("train", "validation"):
        write_folder(tmp_path / "faces" / split, 4, size=48, classes=classes, seed=len(split))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_set_up_commands_are_those_that_ci_runs():
    installs = [command for command in COMMANDS if command.startswith("pip")]
    assert installs == ["pip install . && semantic-aug demo", 'pip install -e ".[test]" && pytest']
    assert "grep -E '^pip install' README.md" in (ROOT / ".ci" / "run").read_text()


def test_commands_and_code_blocks_in_order(here, torch_home, no_warnings):
    verbs = [shlex.split(command)[1:] for command in COMMANDS if command.startswith("semantic-aug")]
    assert [verb[0] for verb in verbs] == ["train", "evaluate", "preview", "fit", "inspect"]
    for verb in verbs:
        if verb[0] == "train":
            verb = [*verb, "--preset", "tiny", "--images", "64"]
        assert cli.main(verb) == 0, verb
    assert (here / "grid.png").stat().st_size > 1000
    names: dict = {}
    assert len(PYTHON) == 3
    for block in PYTHON:
        exec(compile(block, "README.md", "exec"), names)
    images, _ = next(iter(names["loader"]))
    assert images.shape == (28, 3, 48, 48)
    images, labels = names["augment"](images, names["labels"])
    assert labels is names["labels"]
    assert names["augment"].artifact.directory == Path("my-checkpoint")


def test_the_artifact_format_is_told_as_it_is():
    directory = Artifact.load("fer2013-48").directory
    import json

    for key in json.loads((directory / "config.json").read_text()):
        assert f"`{key}`" in README, key


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target
