"""Decode the images of a source on all processors, and find those that cannot be decoded."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from semantic_aug._text import shorten
from semantic_aug.data.source import DataError, Source

CHUNK = 16  # images that a thread reads at a time, so that it can stop soon and the overhead stays small


def decode(
    source: Source, channels: int, size: int, *, skip_bad: bool = False, threads: int | None = None
) -> tuple[Tensor, Tensor]:
    """Images uint8 (n, channels, size, size) and their numbers in ``source``, int64 (n,), in its order.

    ``threads`` (None: one per CPU of this process) changes only the time it takes. Raises DataError as ``load_data``
    does.
    """
    images = torch.empty((len(source), channels, size, size), dtype=torch.uint8)

    def keep(number: int) -> None:
        images[number] = source.read(number, channels, size)

    kept = _read_all(source, keep, skip_bad, threads)
    return (images if len(kept) == len(images) else images[kept]), kept


def find_readable(source: Source, *, skip_bad: bool = False, threads: int | None = None) -> Tensor:
    """Try to read every image. Returns the numbers, int64 (n,), of those that can be read.

    Raises DataError as ``load_data`` does.
    """
    return _read_all(source, lambda number: source.read(number, None, None), skip_bad, threads)


def _read_all(source: Source, read: Callable[[int], object], skip_bad: bool, threads: int | None) -> Tensor:
    """Call ``read`` with the number of every image. Returns the numbers, int64 (n,), for which it did not fail."""
    total = len(source)

    def attempt(numbers: range) -> list[tuple[int, str]]:
        failed = []
        for number in numbers:
            try:
                read(number)
            except (DataError, MemoryError):
                raise
            except Exception as error:  # a damaged file can make Pillow raise anything
                failed.append((number, shorten(error)))
        return failed

    chunks = [range(start, min(start + CHUNK, total)) for start in range(0, total, CHUNK)]
    with ThreadPoolExecutor(threads or count_cpus()) as pool:  # Pillow decodes and resizes without the GIL
        bad = dict(each for failed in pool.map(attempt, chunks) for each in failed)
    if not bad:
        return torch.arange(total)
    if not skip_bad:
        number, reason = next(iter(bad.items()))
        raise DataError(
            f"{source.files[number]!s:.1000}: cannot be read as an image ({reason}); {len(bad)} such in all "
            f"(--skip-bad leaves them out)"
        )
    kept = torch.tensor([number for number in range(total) if number not in bad], dtype=torch.int64)
    counts = torch.bincount(torch.tensor(source.labels)[kept], minlength=len(source.classes))
    for name, count in zip(source.classes, counts.tolist(), strict=True):
        if not count:
            raise DataError(f"{source.origin}/{name}: none of its images can be read")
    return kept


def count_cpus() -> int:
    """How many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
