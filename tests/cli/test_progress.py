"""Progress: a bar on a terminal, lines elsewhere, and in any case the work done."""

import fcntl
import os
import pty
import struct
import sys
import termios
from contextlib import suppress

from semantic_aug.cli import progress


def test_lines_now_and_then(monkeypatch, capsys):
    monkeypatch.setattr(progress.time, "monotonic", iter([0, 10, 40, 60, 90]).__next__)
    progress.shown(iter([10, 20, 0, 30]), 100, 40, "new images")
    out, err = capsys.readouterr()
    assert out == "70 of 100 new images, 1 min left\n100 of 100 new images, 0 min left\n"
    assert err == ""


def test_silent_work_is_done_all_the_same(capsys):
    finished = iter([1, 2])
    progress.shown(finished, 3, 0, "images", silent=True)
    assert next(finished, None) is None
    assert capsys.readouterr() == ("", "")


def test_a_bar_on_a_terminal(monkeypatch, capsys):
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        progress.shown(iter([5, 5]), 20, 10, "new images")
    written = b""
    with suppress(OSError):  # the end of a terminal that is closed on the other side
        while part := os.read(master, 4096):
            written += part
    os.close(master)
    assert b"20/20" in written
    assert b"img/s" in written
    assert capsys.readouterr().out == ""
