"""The README's code blocks and commands, run as they stand (training at tiny size)."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

from semantic_aug.cli import main as cli
from semantic_aug.model.artifact import Artifact
from semantic_aug.model.hub import bundled
from tests import documents
from tests.hub_server import TOKEN

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PYTHON, COMMANDS = documents.python(README), documents.commands(README)


def test_the_set_up_commands_are_those_that_ci_runs():
    installs = [command for command in COMMANDS if command.startswith("pip")]
    assert installs == ["pip install . && semantic-aug demo", 'pip install -e ".[test]" && pytest']
    assert "grep -E '^pip install' README.md" in (ROOT / ".ci" / "run").read_text()


def test_commands_and_code_blocks_in_order(here, torch_home, monkeypatch, no_warnings, hub):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    verbs = [shlex.split(command)[1:] for command in COMMANDS if command.startswith("semantic-aug")]
    expected = ["expand", "expand", "train", "evaluate", "preview", "preview", "fit", "inspect", "train", "push"]
    assert [verb[0] for verb in verbs] == expected
    for verb in verbs:
        assert cli.main(documents.tiny(verb)) == 0, verb
    assert len(list((here / "faces" / "balanced").glob("*/*.png"))) == 28
    assert len((here / "faces" / "shards" / "manifest.jsonl").read_text().splitlines()) == 27
    assert (here / "grid.png").stat().st_size > 1000
    assert (here / "page.html").read_text(encoding="utf-8").count("<img ") > 300
    assert "reconstruction" in json.loads((here / "figures.json").read_text())
    assert (here / "judge.safetensors").is_file()  # it says that a judge of 27 images cannot judge
    assert Artifact.from_pretrained("runs/tuned/checkpoint").training["images_seen"] == 64
    names: dict = {}
    assert len(PYTHON) == 6
    for block in PYTHON:
        exec(compile(block, "README.md", "exec"), names)
    images, labels = next(iter(names["batches"]))
    assert images.shape == (27, 3, 48, 48)
    assert names["batches"].augment.classes == names["dataset"].classes
    images, again = names["augment"](images, labels)
    assert again is labels
    pinned, mine = names["augment"].artifact, Artifact.from_pretrained("my-checkpoint")
    assert pinned.directory.name == hub.repos["user/repo"].tags["v1.0"]
    assert hub.repos["user/copy"].private
    assert pinned.fingerprint == mine.fingerprint == Artifact.from_pretrained("user/copy").fingerprint


def test_the_command_for_several_processes(here, torch_home):
    (command,) = [command for command in COMMANDS if command.startswith("torchrun")]
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", *shlex.split(command)[1:]]
    done = subprocess.run(
        [*words, "--preset", "tiny", "--images", "64", "--device", "cpu"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "in 2 processes" in done.stdout
    assert Artifact.from_pretrained("runs/shared/checkpoint").training["world_size"] == 2


def test_every_command_is_run_by_a_test():
    for command in COMMANDS:
        assert command.startswith(("semantic-aug ", "torchrun ", "pip install")), command


def test_the_artifact_format_is_told_as_it_is():
    directory = Artifact.from_pretrained("fer2013-48").directory
    for key in json.loads((directory / "config.json").read_text()):
        assert f"`{key}`" in README, key


def test_the_preset_table_has_the_figures_of_the_checkpoints():
    for name in bundled():
        artifact = Artifact.from_pretrained(name)
        text = re.sub("<!--.*?-->", "", README)  # comments are no part of the text
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{name}` |")]
        seen = f"{artifact.training['images_seen']:,}".replace(",", " ")
        assert f"| {seen} |" in row
        assert "| {l1_mean:.4f}, {lpips_mean:.4f} |".format(**artifact.reconstruction) in row


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if not target.startswith("http"):
            path, _, heading = target.partition("#")
            assert (ROOT / path).exists(), target
            title = heading.replace("-", " ").capitalize()
            assert f"\n## {title}\n" in (ROOT / path).read_text() if heading else True, target
