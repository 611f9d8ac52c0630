"""Many runs one after another, from a file with one set of options per line."""

import argparse
import os
import shlex
from pathlib import Path

from filelock import FileLock, Timeout

from . import command


def run_queue(options: argparse.Namespace, deadline: float) -> int:
    """Do the missing runs of the queue ``options.queue``, and return an exit code.

    No step begins after ``deadline``, a time of ``time.monotonic``. All lines are read before the first run. Raises
    ValueError for an invalid line, with its file and number, and if another queue writes to the same results.
    """
    lines = read_queue(options.queue, options)
    options.results.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{options.results}.lock", timeout=0)
    try:
        with lock:
            code = command.DONE
            for number, line in lines:
                try:
                    found = command.do_runs(line, deadline)
                except (ValueError, OSError) as error:
                    raise ValueError(f"{options.queue}:{number}: {error}") from error
                if found == command.WORK_LEFT:
                    return found
                code = max(code, found)
            return code
    except Timeout as error:
        raise ValueError(
            f"another queue writes to {options.results} (it holds {lock.lock_file}); wait until it has finished, or "
            f"pass another file as --results"
        ) from error


def read_queue(path: Path, common: argparse.Namespace) -> list[tuple[int, argparse.Namespace]]:
    """Return the number of each line, from 1, and its options. ``common`` has the options that a line does not set.

    A line is split into words as in a shell, with quotes, ``#`` for a comment, and environment variables. Raises
    ValueError for invalid options, with the file and the line.
    """
    lines = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            words = [os.path.expandvars(word) for word in shlex.split(text, comments=True)]
            if not words:
                continue
            line = command.parse(words, argparse.Namespace(**vars(common) | {"queue": None}))
            if line.queue is not None or line.results != common.results:
                raise ValueError("--queue and --results apply to the whole queue and are not allowed in a line")
            lines.append((number, line))
        except ValueError as error:
            raise ValueError(f"{path}:{number}: {error}") from error
    return lines
