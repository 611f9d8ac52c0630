import json

import pytest

from benchmarks.report.speed import describe_arms
from benchmarks.speed import arms
from tests.conftest import build_artifact, write_folder

pytest.importorskip("torchmetrics")


@pytest.fixture
def words(tmp_path):
    folder = write_folder(tmp_path / "faces", 6, size=32)
    build_artifact().save(tmp_path / "checkpoint")
    options = ["--images", "12", "--turns", "1", "--set", "size=32", "batch=6", "--json", str(tmp_path / "arms.json")]
    return [str(folder), "--checkpoint", str(tmp_path / "checkpoint"), *options]


def test_the_first_arm_is_the_unit_and_a_report_is_made(words, tmp_path, capsys):
    assert arms.main([*words, "--arms", "none", "ours+randaugment"]) == 0
    found = json.loads((tmp_path / "arms.json").read_text())
    assert found["arms"]["none"]["ratio"] == 1.0
    assert found["arms"]["ours+randaugment"]["ratio"] > 0
    assert (found["images"], found["size"]) == (12, 32)
    assert "encoding once" in capsys.readouterr().out
    assert "| none |" in "\n".join(describe_arms(found))


def test_what_cannot_be_is_one_line(words, capsys):
    assert arms.main([*words, "--arms", "nonsense"]) == 2
    assert capsys.readouterr().err.startswith("arms: unknown arm 'nonsense'")
