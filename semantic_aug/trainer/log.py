"""Output of a run: a progress bar or plain lines, a JSONL file, and TensorBoard if it is installed."""

import importlib.util
import json
import os
import re
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from semantic_aug._io import errors_about, open_to_append, own_folder
from semantic_aug._progress import Progress

NUMBER = re.compile(r"-?\d[\d.e+-]*")


class Averages:
    """Means of scalar tensors between two log lines, kept on their device to avoid synchronisation in each step."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, **values: Tensor) -> None:
        """Add one value of each named quantity."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(value)) + value.detach()
            self._counts[name] = self._counts.get(name, 0) + 1

    def tensor(self) -> tuple[list[str], Tensor]:
        """The names and the means so far, float32, on their device."""
        sums = torch.stack([total.float() for total in self._sums.values()])
        return list(self._sums), sums / sums.new_tensor(list(self._counts.values()))

    def take(self) -> dict[str, float]:
        """Return the means so far and start over."""
        names, values = self.tensor()
        means = dict(zip(names, values.tolist(), strict=True))
        self._sums.clear()
        self._counts.clear()
        return means


class Board:
    """The figures of a run in a file below ``directory`` that TensorBoard reads.

    torch's SummaryWriter is not used, because it writes in a thread, which prints a traceback when the disk is full.
    """

    def __init__(self, directory: Path) -> None:
        name = f"events.out.tfevents.{time.time_ns() // 10**9}.{socket.gethostname()}.{os.getpid()}"
        self._path = own_folder(directory) / name
        self._write(file_version="brain.Event:2")

    def add(self, images_seen: int, figures: dict[str, Any]) -> None:
        """Write the figures at a number of images."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=value) for name, value in figures.items()]
        self._write(step=images_seen, summary=Summary(value=values))

    def _write(self, **fields: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        with errors_about(self._path), open_to_append(self._path) as file:
            RecordWriter(file).write(Event(wall_time=time.time(), **fields).SerializeToString())


class RunLog:
    """The progress of a run of ``total`` images, with files below ``directory``. It is a context manager.

    A ``silent`` log does nothing. It is for processes other than the first.
    """

    def __init__(self, directory: Path, total: int, done: int, *, silent: bool = False) -> None:
        self.silent = silent
        self._warned: set[str] = set()
        if silent:
            return
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / "log.jsonl"
        open_to_append(self._path).close()  # refuses a link before any work is done
        self._progress = Progress(total, done)
        self._board = Board(directory / "tensorboard") if importlib.util.find_spec("tensorboard") else None

    def advance(self, images: int) -> None:
        """Note that ``images`` more were seen."""
        if self.silent:
            return
        self._progress.advance(images)

    def say(self, text: str) -> None:
        """Print a line."""
        if self.silent:
            return
        self._progress.say(text)

    def record(self, images_seen: int, figures: dict[str, Any]) -> None:
        """Print and store one line of figures."""
        if self.silent:
            return
        self.say(f"{images_seen:>9} images  " + "  ".join(f"{name} {value:.4g}" for name, value in figures.items()))
        with errors_about(self._path), open_to_append(self._path) as file:
            file.write((json.dumps({"images_seen": images_seen} | figures) + "\n").encode())
        if self._board:
            self._board.add(images_seen, figures)

    def warn(self, lines: Iterable[str]) -> None:
        """Print each warning once. Two warnings that differ only in numbers count as the same."""
        for line in lines:
            kind = NUMBER.sub("#", line)
            if kind not in self._warned:
                self._warned.add(kind)
                self.say(f"warning: {line}")

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_: object) -> None:
        if not self.silent:
            self._progress.close()
