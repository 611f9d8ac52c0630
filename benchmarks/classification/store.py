"""A file of finished runs, with one JSON object per line. Lines are only ever appended."""

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results" / "classification.jsonl"
# Two runs are the same run if they agree in these fields. ``settings`` contains every choice that has no field of its
# own, and ``protocol`` is the version of the code.
IDENTITY = (
    "data", "imbalance", "dedup", "split", "classifier", "base", "arm", "seed", "epochs", "settings", "protocol",
)  # fmt: skip
FIGURES = ("accuracy", "mAP", "balanced_accuracy", "recall")

Run = dict[str, Any]


def identity(run: Mapping[str, Any]) -> str:
    """A text that identifies a run, whether it is finished or not."""
    return json.dumps({name: run[name] for name in IDENTITY}, sort_keys=True)


def read(path: Path, needed: Sequence[str] = (*IDENTITY, *FIGURES)) -> list[Run]:
    """Return the runs of a file, or an empty list if there is no file.

    A line that lacks one of the fields ``needed`` is skipped with a warning. It stays in the file.
    """
    runs = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines() if path.is_file() else [], 1):
        try:
            run = json.loads(line)
            missing = [name for name in needed if name not in run]
            if not isinstance(run, dict) or missing:
                raise ValueError(f"it lacks {missing}")
        except (ValueError, TypeError) as error:
            warnings.warn(f"{path.name}, line {number} is not a complete run ({error}); it is skipped", stacklevel=2)
            continue
        runs.append(run)
    return runs


def append(path: Path, run: Run) -> None:
    """Append a run in a single write, so that programs which share a file do not break each other's lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(run, sort_keys=True, allow_nan=False) + "\n"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":  # keep the part of a broken write on its own line
            line = "\n" + line
        os.write(descriptor, line.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
