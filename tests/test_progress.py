"""Progress: a bar on a terminal, and lines elsewhere."""

import fcntl
import os
import pty
import struct
import sys
import termios
from contextlib import suppress

import pytest

from semantic_aug import _progress
from semantic_aug._progress import Progress, format_time


def test_a_line_a_minute(monkeypatch, capsys):
    monkeypatch.setattr(_progress.time, "monotonic", iter([0, 20, 80, 100, 160]).__next__)
    with Progress(1000, 40, "new images") as progress:
        for images in (10, 20, 0, 90):
            progress.advance(images)
    out, err = capsys.readouterr()
    assert out == "70 of 1000 new images, 41 min left\n160 of 1000 new images, 19 min left\n"
    assert err == ""


def test_lines_go_where_they_are_asked_for(monkeypatch, capsys):
    monkeypatch.setattr(_progress.time, "monotonic", iter([0, 60]).__next__)
    with Progress(4, file=sys.stderr) as progress:
        progress.advance(2)
    assert capsys.readouterr() == ("", "2 of 4 images, 1 min left\n")


def test_a_silent_one_says_nothing(monkeypatch, capsys):
    monkeypatch.setattr(_progress.time, "monotonic", iter([0, 60]).__next__)
    with Progress(3, silent=True) as progress:
        progress.advance(1)
    assert capsys.readouterr() == ("", "")


def test_a_bar_on_a_terminal(monkeypatch, capsys):
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with Progress(20, 10) as progress:
            progress.advance(5)
            progress.advance(5)
    written = b""
    with suppress(OSError):  # the end of a terminal that is closed on the other side
        while part := os.read(master, 4096):
            written += part
    os.close(master)
    assert b"20/20" in written
    assert b"img/s" in written
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "under a minute"), (29, "under a minute"), (31, "1 min"), (59.6 * 60, "1 h 0 min"), (12000, "3 h 20 min")],
)
def test_times_are_rounded_to_minutes(seconds, text):
    assert format_time(seconds) == text
