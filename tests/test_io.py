import os
import socket
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from semantic_aug._io import in_turn, only_writer, open_to_append, own_folder, save_whole, workplace, write_whole

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


def test_without_overwrite_a_file_of_another_process_stays(tmp_path, monkeypatch):
    path = tmp_path / "a"
    save_whole({"x": torch.ones(3)}, path, {}, overwrite=False)
    before = path.read_bytes()

    def no_hard_links(*_):
        raise PermissionError(1, "Operation not permitted")

    for _ in range(2):
        with pytest.raises(FileExistsError, match="another process has written it meanwhile"):
            save_whole({"x": torch.zeros(3)}, path, {}, overwrite=False)
        monkeypatch.setattr("semantic_aug._io.os.link", no_hard_links)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a"]
    path.unlink()
    save_whole({"x": torch.zeros(3)}, path, {}, overwrite=False)
    assert os.listdir(tmp_path) == ["a"]


def test_a_full_disk_is_named_by_the_path_of_the_user(small_disk):
    write_whole(b"old", small_disk / "a")
    for write in (
        lambda path: save_whole({"x": torch.ones(100_000)}, path, {}),
        lambda path: write_whole(bytes(400_000), path),
    ):
        with pytest.raises(OSError, match=r"No space left on device: '.*/disk/a'") as caught:
            write(small_disk / "a")
        assert caught.value.errno == 28
        assert os.listdir(small_disk) == ["a"]
        assert (small_disk / "a").read_bytes() == b"old"


def test_a_link_or_a_pipe_in_an_output_is_refused(tmp_path):
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "log").write_text("mine")
    (tmp_path / "folder").symlink_to(tmp_path / "others")
    (tmp_path / "log").symlink_to(tmp_path / "others" / "log")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match=r"folder is a link to .*others, expected a folder; remove the link"):
        own_folder(tmp_path / "folder")
    for name in ("log", "pipe", "/dev/null"):
        with pytest.raises(ValueError, match=r"is a (link or a )?named pipe.*, expected a file; remove it"):
            open_to_append(tmp_path / name)
    assert (tmp_path / "others" / "log").read_text() == "mine"
    for _ in range(2):
        with open_to_append(own_folder(tmp_path / "new") / "log") as file:
            file.write(b"line\n")
    assert (tmp_path / "new" / "log").read_text() == "line\nline\n"


HOLD = """
import sys
from pathlib import Path
from semantic_aug import _io
with getattr(_io, sys.argv[1])(*map(Path, sys.argv[2:])):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(*arguments):
    words = [sys.executable, "-c", HOLD, *map(str, arguments)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    return process


def end(process):
    process.kill()
    process.communicate()


def test_one_writer_at_a_time_and_a_killed_one_is_in_nobodys_way(tmp_path):
    process = hold("only_writer", tmp_path, tmp_path / "lock")
    try:
        with pytest.raises(ValueError, match="another process works on it"), only_writer(tmp_path, tmp_path / "lock"):
            pass
    finally:
        end(process)
    with only_writer(tmp_path, tmp_path / "lock"):
        pass


def test_processes_take_turns_and_leave_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr("semantic_aug._io.PATIENCE", 0.05)
    process = hold("in_turn", tmp_path)
    try:
        with in_turn(tmp_path):  # nobody waits for ever
            pass
    finally:
        end(process)
    with in_turn(tmp_path):
        assert os.listdir(tmp_path) == []
