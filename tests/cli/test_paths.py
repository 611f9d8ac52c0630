import os
import socket
import subprocess
import sys

import pytest

from semantic_aug.cli.paths import new, without_folders


@pytest.mark.parametrize(
    ("word", "recorded"),
    [
        ("train", "train"),
        ("/data/faces/train/", "train"),
        ("faces/", "faces"),
        ("user/repo@v1", "user/repo@v1"),
        ("torchvision:FashionMNIST/test@/data/x", "torchvision:FashionMNIST/test"),
        ("folder:/data/faces", "folder:faces"),
        ("{here}/fer2013.csv/test", "fer2013.csv/test"),
        ("{here}/fer2013.csv", "fer2013.csv"),
        ("--output=/tmp/o", "--output=o"),
        ("--images=8", "--images=8"),
        ("-1", "-1"),
        ("x" * 5000, "x" * 5000),
    ],
)
def test_what_is_recorded_of_a_command(word, recorded, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faces").mkdir()
    (tmp_path / "fer2013.csv").touch()
    assert without_folders(word.format(here=tmp_path)) == recorded


def test_what_a_killed_process_left_beside_a_finished_output_is_deleted(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    left, runs = (tmp_path / f".out.{socket.gethostname()}.{number}-0.part" for number in (process.pid, os.getpid()))
    for folder in (left, runs):
        folder.mkdir()
    (tmp_path / "out").touch()
    with pytest.raises(FileExistsError, match="out exists"):
        new(tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == sorted([runs, tmp_path / "out"])
