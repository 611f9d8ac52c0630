"""Finished runs, with one JSON object per line in a file that only grows."""

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results" / "classification.jsonl"
# What makes two runs the same run. ``settings`` holds every choice that the others do not name, and ``protocol`` is the
# version of the code that decides a result.
IDENTITY = (
    "data", "imbalance", "dedup", "split", "classifier", "base", "arm", "seed", "epochs", "settings", "protocol",
)  # fmt: skip
FIGURES = ("accuracy", "mAP", "balanced_accuracy", "recall")

Run = dict[str, Any]


def identity(run: Mapping[str, Any]) -> str:
    """The same text for two descriptions of the same run, finished or not."""
    return json.dumps({name: run[name] for name in IDENTITY}, sort_keys=True)


def read(path: Path, needed: Sequence[str] = (*IDENTITY, *FIGURES)) -> list[Run]:
    """The runs of a file, none where there is no file; a line that is not whole is warned of, and stays where it is.

    ``needed``: the fields without which a line is not whole.
    """
    runs = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines() if path.is_file() else [], 1):
        try:
            run = json.loads(line)
            missing = [name for name in needed if name not in run]
            if not isinstance(run, dict) or missing:
                raise ValueError(f"it lacks {missing}")
        except (ValueError, TypeError) as error:
            warnings.warn(f"{path.name}, line {number} is not a whole run ({error}); it is skipped", stacklevel=2)
            continue
        runs.append(run)
    return runs


def append(path: Path, run: Run) -> None:
    """Add a run as one write, so that programs which share a file do not cut each other's lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(run, sort_keys=True, allow_nan=False) + "\n"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":  # a write was cut off: its half stays on a line alone
            line = "\n" + line
        os.write(descriptor, line.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
