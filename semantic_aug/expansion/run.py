"""Write an expanded data set with originals and new images, on which any framework can train.

A run may be killed at any moment. Running it again makes only what is missing. During the work, ``DIR/.expand`` holds a
lock and the lines of finished units. ``DIR/manifest.jsonl`` appears last, when everything is there.
"""

import json
import os
import platform
import random
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import PIL
import torch

from semantic_aug._files import FileError, parse_json, read_json
from semantic_aug._io import errors_about, only_writer, open_to_append, own_folder, write_by_way_of
from semantic_aug.expansion.layouts import MANIFEST, RUN, WORK, Layout, Line
from semantic_aug.expansion.recipe import one_thread, read_file, remake
from semantic_aug.model.artifact import Artifact

FORMAT = "semantic-aug-expanded/1"
LOCK = "lock"
MAX_LINE = 1 << 20  # bytes

Engine = Callable[[Layout, Sequence[int]], Iterable[list[Line]]]


def made_with(device: str) -> dict[str, str]:
    """Everything that the bits of an image depend on besides its recipe."""
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else torch.device(device).type
    processor = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    packages = {"torch": torch.__version__, "pillow": PIL.__version__}
    return {"device": name, "processor": processor} | packages


# --- A run: begin, continue, finish -----------------------------------------------------------------------------


@contextmanager
def begun(directory: Path, run: dict[str, Any], check: Callable[[], list[int]]) -> Iterator[None]:
    """Lock ``directory`` for this run and record the run there, or check that it is already recorded.

    Args:
        directory: a new or empty directory, or one in which the same run was begun.
        run: settings of the run, which must be JSON-serialisable.
        check: called for a new run before anything is written. It returns the numbers of the images to skip.

    Raises FileExistsError for a directory with other things in it. Raises ValueError if the directory belongs to
    another run (with the differences), or if another process is working on it.
    """
    run = {"format": FORMAT} | json.loads(json.dumps(run))
    if not directory.exists() or not set(os.listdir(directory)) - {WORK}:
        run |= {"skipped": check()}
    elif not (directory / RUN).is_file():
        raise FileExistsError(f"{directory} is not empty and has no {RUN} of a run to go on with; choose another one")
    else:
        _compare(directory, run)
    directory.mkdir(parents=True, exist_ok=True)
    with only_writer(directory, own_folder(directory / WORK) / LOCK):
        if (directory / RUN).is_file():
            _compare(directory, run)
        else:
            text = json.dumps(run, indent=1) + "\n"
            write_by_way_of(directory / WORK / f"{RUN}.part", text.encode(), directory / RUN, sync=True)
        for left in (directory / WORK).glob("*.part"):  # left by a process that was killed
            left.unlink()
        yield
    if (directory / MANIFEST).is_file():
        shutil.rmtree(directory / WORK, ignore_errors=True)


def recorded(directory: Path) -> dict[str, Any]:
    """The settings of the run recorded in a directory, with the numbers of the images to skip, ``skipped``."""
    run = read_json(directory / RUN)
    skipped = run.get("skipped")
    if not isinstance(skipped, list) or not all(type(number) is int and number >= 0 for number in skipped):
        raise FileError(f"{directory / RUN}: 'skipped' is {skipped!r:.80}, expected a list of numbers of images")
    return run


def _compare(directory: Path, run: dict[str, Any]) -> None:
    there = recorded(directory)
    names = sorted((run.keys() | there.keys()) - {"skipped"})
    different = [n for n in names if json.dumps(run.get(n), sort_keys=True) != json.dumps(there.get(n), sort_keys=True)]
    text = "; ".join(f"{n:.40}: {there.get(n)!s:.200} there, {run.get(n)!s:.200} here" for n in different[:9])
    if text:
        raise ValueError(f"{directory} was begun by another run ({text}); choose another one, or the same settings")


# --- The work ---------------------------------------------------------------------------------------------------


def in_threads(layout: Layout, units: Sequence[int]) -> Iterator[list[Line]]:
    """Write ``units``, as many at a time as torch has threads. Yields the lines of each unit when it is finished."""
    workers = torch.get_num_threads()
    layout.start()
    with one_thread(), ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        waiting, running = iter(units), set[Future[list[Line]]]()
        try:
            while True:
                for unit in islice(waiting, 2 * workers - len(running)):
                    running.add(pool.submit(layout.write, unit))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def work(
    layout: Layout, *, rank: int = 0, world_size: int = 1, engine: Engine = in_threads
) -> tuple[int, int, Iterator[int]]:
    """Do this process's share of the missing work.

    Returns the number of new images in its share, how many of them already exist, and an iterator. The iterator does
    the work and yields the number of new images in each unit. Lines are stored as soon as their files exist.
    """
    directory = layout.directory
    lines = _lines(layout)
    share = list(layout.units())[rank::world_size]
    missing = [unit for unit in share if not layout.intact(unit, lines)]
    images = [sum(len(layout.numbers(unit)) for unit in units) for units in (share, missing)]

    def go() -> Iterator[int]:
        layout.place(range(rank, len(layout.originals), world_size))
        for finished in engine(layout, missing) if missing else ():
            _append(directory / WORK / f"lines-{rank}.jsonl", finished)
            yield len(finished)

    return images[0], images[0] - images[1], go()


def finish(layout: Layout) -> int:
    """Write the manifest, ordered by number, after all processes have finished. Returns the number of its lines.

    Raises RuntimeError if new images are missing.
    """
    directory = layout.directory
    lines = _lines(layout)
    missing = len(layout.plan) - len(lines)
    if missing:
        raise RuntimeError(f"{directory}: {missing} of {len(layout.plan)} new images are missing; run it again")
    text = "".join(json.dumps(lines[number]) + "\n" for number in range(len(lines)))
    target = directory / MANIFEST
    if not target.is_file() or target.read_bytes() != text.encode():
        write_by_way_of(layout.temporary(), text.encode(), target, sync=True)
    return len(lines)


def differing(directory: Path, artifact: Artifact, count: int, seed: int = 0, device: str = "cpu") -> list[str]:
    """Make ``count`` images of the manifest again, drawn with ``seed``. Returns the files that are not identical."""
    lines = list(_read_lines(directory / MANIFEST))
    chosen = random.Random(seed).sample(lines, min(count, len(lines)))
    return [
        str(line.get("file"))
        for line in chosen
        if remake(line, directory, artifact, device) != read_file(directory, str(line.get("file")))
    ]


def _lines(layout: Layout) -> dict[int, Line]:
    """All lines of this run that were written so far, by number. Others are left out, as if they were not there."""
    directory, found = layout.directory, {}
    for file in [directory / MANIFEST, *sorted((directory / WORK).glob("lines-*.jsonl"))]:
        for line in _read_lines(file):
            number, digest = line.get("number"), line.get("sha256")
            if type(number) is not int or not 0 <= number < len(layout.plan) or not isinstance(digest, str):
                continue
            expected = layout.line(number, digest)
            if line == json.loads(json.dumps(expected)):
                found[number] = expected  # as it was written: 1.0 for 1 in a file is equal, but other bytes
    return found


def _read_lines(path: Path) -> Iterator[Line]:
    """The lines of a file, except for one that was cut off."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        while text := file.readline(MAX_LINE):
            with suppress(FileError):
                yield parse_json(text, str(path))


def _append(path: Path, lines: list[Line]) -> None:
    """Append lines in one write. They start on a new line even if the last write was cut off."""
    text = "\n" + "".join(json.dumps(line) + "\n" for line in lines)
    with errors_about(path), open_to_append(path) as file:
        file.write(text.encode())
