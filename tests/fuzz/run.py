"""Mutate files of a kind again and again, and count what becomes of them."""

import math
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from tests.fuzz.kinds import KINDS, Found, Kind
from tests.fuzz.mutations import mutate

LIMIT = 120.0  # seconds for a mutated file to be read
LONGEST = 1500  # characters of a message
RIGHT = ("equal", "another", "refused")


class Hang(Exception):
    """Reading takes too long."""


@contextmanager
def time_limit():
    """Raise Hang after ``LIMIT`` seconds, and again and again, for a file that is never read to its end."""

    def fail(*_):
        raise Hang

    before = signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, LIMIT, LIMIT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def outcome(kind: Kind, folder: Path, whole: Found, *, guarded: bool) -> str:
    """What becomes of a mutated example: one of ``RIGHT``, or what is wrong."""
    began = time.monotonic()
    try:
        with time_limit(), warnings.catch_warnings(action="ignore"):
            found = kind.read(folder)
    except kind.refusals as error:
        text = str(error)
        if len(text) > LONGEST:
            return f"a message of {len(text)} characters"
        return "refused" if str(folder) in text else f"no file named: {type(error).__name__}: {text:.200}"
    except Hang:
        return "hang"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return f"unclean: {traceback.format_exception_only(error)[-1].strip():.200}"
    if time.monotonic() - began > LIMIT:
        return "hang"
    if any(value.is_floating_point() and not value.isfinite().all() for value in found.values()):
        return "not finite"
    if found.keys() == whole.keys() and all(torch.equal(found[name], value) for name, value in whole.items()):
        return "equal"
    return "wrong taken for right" if guarded else "another"


def mutate_example(kind: Kind, folder: Path, draw: random.Random) -> bool:
    """Mutate files of an example one to three times. Returns whether a hash or check sum must give it away."""
    paths = sorted(path for path in folder.glob(kind.mutated) if path.is_file())
    guarded, unguarded = set(folder.glob(kind.guarded)), False
    seals = draw.random() < 0.7
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        path = draw.choice(paths)
        right_sums = mutate(path, draw)
        sealed = False
        if seals and kind.seal is not None and path in guarded and path.is_file():
            with suppress(Exception):  # what has no structure any more, has no hash to be made right
                kind.seal(path)
                sealed = True
        unguarded |= sealed or right_sums or path not in guarded
    return not unguarded


def fuzz(name: str, times: int, seed: int, minutes: float = math.inf) -> Counter:
    """The outcomes of ``times`` mutations of a kind, or of as many as fit into ``minutes``.

    The first mutation of each wrong outcome is printed.
    """
    kind, found = KINDS[name], Counter()
    with tempfile.TemporaryDirectory() as place:
        original, mutated = Path(place, "original"), Path(place, "mutated")
        original.mkdir()
        kind.make(original)
        shutil.copytree(original, mutated, symlinks=True)
        whole = {name: value.clone() for name, value in kind.read(mutated).items()}
        until = time.monotonic() + 60 * minutes
        for number in range(times):
            if time.monotonic() > until:
                break
            shutil.rmtree(mutated)
            shutil.copytree(original, mutated, symlinks=True)
            guarded = mutate_example(kind, mutated, random.Random(f"{seed}/{number}"))
            text = outcome(kind, mutated, whole, guarded=guarded).replace(str(mutated), "...")
            text = re.sub(r"\d+", "#", text) if text not in RIGHT else text
            if text not in found and text not in RIGHT:
                print(f"{name}, mutation {number} of seed {seed}: {text}", file=sys.stderr, flush=True)
            found[text] += 1
    return found


def forget_peak() -> None:
    """Let ``peak_mb`` begin anew."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_mb() -> float:
    """The most memory that this process has had."""
    (found,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found) / 1024
