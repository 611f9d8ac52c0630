"""The README's code blocks and commands, run as they stand (training at tiny size)."""

import json
import re
import shlex
from pathlib import Path

from semantic_aug import SemanticLoader
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
    assert [verb[0] for verb in verbs] == ["train", "evaluate", "preview", "push"]
    for verb in verbs:
        assert cli.main(documents.tiny(verb)) == 0, verb
    assert (here / "page.html").read_text(encoding="utf-8").count("<img ") > 300
    assert "reconstruction" in json.loads((here / "figures.json").read_text())
    assert (here / "judge.safetensors").is_file()  # it says that a judge of 27 images cannot judge
    assert "v1.0" in hub.repos["user/repo"].tags
    names: dict = {}
    assert len(PYTHON) == 3
    for block in PYTHON:
        exec(compile(block, "README.md", "exec"), names)
    assert names["images"].shape == (27, 3, 48, 48)
    assert names["augment"].classes == names["dataset"].classes
    _, again = names["augment"](names["images"], names["labels"])
    assert again is names["labels"]
    images, _ = next(iter(SemanticLoader(names["loader"], names["augment"])))
    assert images.shape == (27, 3, 48, 48)


def test_every_command_is_run_by_a_test():
    for command in COMMANDS:
        assert command.startswith(("semantic-aug ", "pip install")), command


def test_the_table_has_the_figures_of_the_checkpoints():
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
            path, _, anchor = target.partition("#")
            linked = ROOT / (path or "README.md")
            assert linked.exists(), target
            assert not anchor or anchor in anchors(linked.read_text()), target


def anchors(text):
    """GitHub's anchors of the headings of a document."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]
