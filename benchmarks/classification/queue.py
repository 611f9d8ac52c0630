"""Many runs one after another, from a file with one set of options per line."""

import argparse
import os
import shlex
from pathlib import Path

from filelock import FileLock, Timeout

from . import command


def run_queue(options: argparse.Namespace, deadline: float) -> int:
    """Do what is missing of the queue ``options.queue`` until ``deadline`` of ``time.monotonic``; an exit code.

    All lines are read before the first run. Raises ValueError for a line that cannot be, with its file and number, and
    where another queue writes to the same results.
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
            f"another queue writes to {options.results} (it holds {lock.lock_file}); "
            f"wait for it, or give this one other results"
        ) from error


def read_queue(path: Path, common: argparse.Namespace) -> list[tuple[int, argparse.Namespace]]:
    """The options of each line and its number, from 1; what a line does not say is as in ``common``.

    A line is read as a shell would: words, quotes, ``#`` for a comment, and variables of the environment. Raises
    ValueError with the file and the line for options that cannot be.
    """
    lines = []
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            words = [os.path.expandvars(word) for word in shlex.split(text, comments=True)]
            if not words:
                continue
            line = command.parse(words, argparse.Namespace(**vars(common) | {"queue": None}))
            if line.queue is not None or line.results != common.results:
                raise ValueError("--queue and --results are for the whole queue, and cannot stand in a line")
            lines.append((number, line))
        except ValueError as error:
            raise ValueError(f"{path}:{number}: {error}") from error
    return lines
