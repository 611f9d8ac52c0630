"""The documentation's code blocks and commands, run page by page, and the facts that it copies."""

import contextlib
import json
import re
import shlex
from pathlib import Path

import pytest

from semantic_aug.cli import main as cli
from semantic_aug.model.artifact import Artifact
from tests import documents
from tests.conftest import build_artifact
from tests.data.conftest import write_fashion
from tests.hub_server import TOKEN

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {path.stem: path.read_text() for path in sorted(DOCS.glob("*.md"))}
PROJECT = (ROOT / "pyproject.toml").read_text()


def run(command):
    """Run ``semantic-aug``, and check of other commands that they are run elsewhere."""
    words = shlex.split(command)
    if words[0] == "semantic-aug":
        run_verb(words[1:])
    elif programs := [word for word in words if word.startswith("examples/")]:
        assert f'load("{Path(programs[0]).stem}")' in (ROOT / "tests" / "test_examples.py").read_text()
    elif words[0] == "torchrun":  # test_distributed.py starts two processes
        assert words[1:5] == ["--nproc-per-node", "2", "-m", "semantic_aug"]
        run_verb(words[5:])  # tiny() chooses the preset
    else:
        assert words[:2] == ["pip", "install"], command
        assert all(f"\n{extra} = [" in PROJECT for extra in re.findall(r"\.\[(.*)\]", command)), command
        assert "&&" not in words or command in documents.commands((ROOT / "README.md").read_text())


def run_verb(words):
    if words[0].startswith("--"):
        pytest.importorskip("shtab", reason="shtab is not installed (extra completion)")
        *words, arrow, target = words
        assert arrow == ">"
        with open(target, "w") as file, contextlib.redirect_stdout(file), pytest.raises(SystemExit) as caught:
            cli.main(words)
        assert not caught.value.code
        assert Path(target).stat().st_size > 1000
    else:
        assert cli.main(documents.tiny(words)) == 0, words


@pytest.fixture(scope="module")
def tiny_checkpoints(tmp_path_factory):
    """The default checkpoint with tiny networks."""
    root = tmp_path_factory.mktemp("checkpoints")
    build_artifact(classes=Artifact.from_pretrained("fer2013-48").classes, size=48).save(root / "fer2013-48")
    return root


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_code_blocks_in_order(page, here, torch_home, tiny_checkpoints, monkeypatch, no_warnings, hub):
    """With tiny networks; the README's are run with the checkpoint itself."""
    monkeypatch.setattr("semantic_aug.model.hub.BUNDLED", (tiny_checkpoints,))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    write_fashion(here / "data", labels=[*range(10)] * 4)
    names: dict = {}
    for language, content in documents.blocks(PAGES[page]):
        if language == "bash":
            for command in documents.lines(content):
                run(command)
        elif language == "python":
            exec(compile(content, f"{page}.md", "exec"), names)
        else:  # output, or what Sphinx fills in
            assert language == "text" or language.startswith("{"), language
    if page == "howto":
        assert len(list((here / "faces" / "balanced").glob("*/*.png"))) == 28
        assert len((here / "faces" / "shards" / "manifest.jsonl").read_text().splitlines()) == 27
        assert names["artifact"].directory.name == hub.repos["user/repo"].tags["v1.0"]
        assert hub.repos["user/copy"].private


def test_the_blocks_are_found():
    found = [language for page in PAGES.values() for language, _ in documents.blocks(page)]
    assert found.count("python") > 6
    assert found.count("bash") > 8
    assert sum(page.count("```") for page in PAGES.values()) == 2 * len(found)


def test_the_artifact_format_is_told_as_it_is():
    directory = Artifact.from_pretrained("fer2013-48").directory
    for key in json.loads((directory / "config.json").read_text()):
        assert f"`{key}`" in PAGES["method"], key


def test_the_messages_are_those_of_the_source():
    source = " ".join(path.read_text() for path in (ROOT / "semantic_aug").rglob("*.py"))
    source = re.sub(r'"\s+f?"', "", source)  # strings written on several lines
    messages = re.findall(r'^\| .*?"(.*?)".*\|$', PAGES["troubleshooting"], re.MULTILINE)
    assert len(messages) > 6
    for message in messages:
        assert message in source, message


def test_contributing_has_the_commands_that_ci_runs():
    first, second = documents.commands((ROOT / "CONTRIBUTING.md").read_text())
    assert first in documents.commands((ROOT / "README.md").read_text())
    for part in second.removesuffix(" build/docs").split(" && "):
        assert f"\n{part}" in (ROOT / ".ci" / "run").read_text(), part


def test_the_lowest_versions_run_are_those_asked_for():
    row, oldest_python = [line for line in PAGES["start"].splitlines() if "| 2.6.0 |" in line]
    (floor,) = re.findall(r'^requires-python = ">=(.*)"', PROJECT, re.MULTILINE)
    assert oldest_python.startswith(f"| {floor} |")
    found = set(re.findall(r"\d[\d.]+", row.rpartition("|")[0].rpartition("|")[0]))
    asked = re.findall(r"^dependencies = \[(.*?)^\]|^train = \[(.*?)\]", PROJECT, re.DOTALL | re.MULTILINE)
    floors = re.findall(r">=([\d.]+)", str(asked))
    assert len(floors) == 9
    for floor in floors:
        assert floor in found or f"{floor}.0" in found, floor
