import os
import socket
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from semantic_aug._io import save_whole, workplace, write_whole

KILLED = """
import os, sys
from pathlib import Path
from semantic_aug._io import workplace
with workplace(Path(sys.argv[1])) as place:
    (place / ".tmpabc").write_bytes(bytes(1000))
    os._exit(9)
"""


def test_a_file_is_written_and_nothing_is_left(tmp_path):
    path = tmp_path / "page.html"
    (tmp_path / "page.part").write_text("a user's own")
    write_whole(b"old", path)
    write_whole(b"new", path, sync=True)
    save_whole({"x": torch.ones(3)}, tmp_path / "x.safetensors", {"a": "b"})
    assert path.read_bytes() == b"new"
    assert torch.equal(load_file(tmp_path / "x.safetensors")["x"], torch.ones(3))
    assert sorted(os.listdir(tmp_path)) == ["page.html", "page.part", "x.safetensors"]
    assert (tmp_path / "page.part").read_text() == "a user's own"


def test_what_a_killed_writer_left_is_deleted_by_the_next_one(tmp_path):
    path = tmp_path / "state.safetensors"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert done.returncode == 9
    assert len(os.listdir(tmp_path)) == 1
    save_whole({"x": torch.ones(3)}, path, {})
    assert os.listdir(tmp_path) == ["state.safetensors"]


def test_what_belongs_to_a_running_process_or_another_machine_stays(tmp_path):
    others = [f".a.{socket.gethostname()}.{os.getppid()}-0.part", ".a.elsewhere.1-0.part"]
    for other in others:
        (tmp_path / other).mkdir()
    write_whole(b"x", tmp_path / "a")
    assert sorted(os.listdir(tmp_path)) == sorted([*others, "a"])


def test_two_writers_of_one_process_do_not_meet(tmp_path):
    with workplace(tmp_path / "a") as first, workplace(tmp_path / "a") as second:
        assert first != second
        assert first.is_dir()
    assert os.listdir(tmp_path) == []


def test_a_failure_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a"
    write_whole(b"old", path)

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr("semantic_aug._io.os.replace", fail)
    with pytest.raises(OSError, match="no space left"):
        write_whole(b"new", path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]
