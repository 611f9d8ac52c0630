import json
import re

from tests.cli.conftest import run
from tests.conftest import CLASSES, build_artifact


def test_inspect_prints_classes_counts_sizes_hashes_and_figures(saved, capsys):
    assert run("inspect", saved) == 0
    out = capsys.readouterr().out
    for name in CLASSES:
        assert re.search(rf"{name} +50", out)
    files = json.loads((saved / "config.json").read_text())["files"]
    for name, file in files.items():
        assert f"{name}: {file['bytes']} bytes, sha256 {file['sha256']}" in out
    for words in ("semantic-aug/1", "encoder: ", "strength: 0.35", "image_size: 32"):
        assert words in out


def test_names_from_outside_forge_no_line_and_move_no_cursor(tmp_path, capsys):
    artifact = build_artifact(classes=["a\nrecommended", "\x1b[2J", "c"])
    artifact.training = {"note": "x\nwrote it\x1b[31m"}
    assert run("inspect", artifact.save(tmp_path / "a")) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert out.count("\nrecommended") == 1
    assert r"a\nrecommended" in out
    assert r"note: x\nwrote it\x1b[31m" in out
