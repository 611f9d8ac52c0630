"""Helpers for one process or many, as started by ``torchrun`` or ``accelerate launch``."""

import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor

if TYPE_CHECKING:
    from accelerate import PartialState


ALONE = timedelta(days=1)  # how long the others wait while the first process reads a data set or trains a judge


def join(device: str | None = None) -> "PartialState":
    """Join the other processes, if several were launched, on "cpu", "cuda" or None (the best device).

    A single process may also name its GPU, such as "cuda:1". Raises RuntimeError if fewer or more processes join than
    the launcher announced. ``accelerate launch --cpu`` always starts a single process, whatever number it is given.
    """
    from accelerate import PartialState

    accelerated = torch.cuda.is_available() or torch.backends.mps.is_available()
    state = PartialState(cpu=device == "cpu" or not accelerated, timeout=ALONE)
    expected = launched()
    if state.num_processes != expected:
        raise RuntimeError(
            f"{expected} processes were launched but {state.num_processes} joined; "
            f"use torchrun --nproc-per-node N -m semantic_aug ..."
        )
    named = torch.device(device or "cpu")
    if named.type == "cuda" and named.index is not None and expected == 1:
        torch.cuda.set_device(named)
        state.device = named
    return state


def leave() -> None:
    """Wait for the other processes and leave the group. A program with several processes must do this last.

    Otherwise threads of the communication library that are still running may abort a process that ends early.
    """
    if dist.is_available() and dist.is_initialized():
        wait()
        dist.destroy_process_group()


def wait() -> None:
    """Wait until every process has reached this point."""
    if dist.is_available() and dist.is_initialized():
        dist.barrier()


def launched() -> int:
    """How many processes the launcher started, 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank_and_world() -> tuple[int, int]:
    """This process's number and how many there are."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def sum_over_processes(values: Tensor) -> Tensor:
    """The element-wise sum over all processes, bit-for-bit equal on each. A single process gets ``values`` itself."""
    if rank_and_world()[1] > 1:
        values = values.clone()
        dist.all_reduce(values)
    return values


def mean_over_processes(values: Tensor) -> Tensor:
    """``sum_over_processes`` divided by the number of processes."""
    return sum_over_processes(values) / rank_and_world()[1]


def check_equal(**values: str) -> None:
    """Raise RuntimeError, in every process, unless all of them call this with the same values."""
    if rank_and_world()[1] == 1:
        return
    everyone: list[dict[str, str]] = [{} for _ in range(rank_and_world()[1])]
    dist.all_gather_object(everyone, values)
    for name, expected in everyone[0].items():
        for rank, theirs in enumerate(everyone):
            if theirs.get(name) != expected:
                raise RuntimeError(
                    f"process {rank} has other {name} than process 0 ({theirs.get(name)!s:.200}, not {expected:.200}); "
                    f"start all of them with the same command and data"
                )


def shares(total: int, batch: int, advance: Callable[[int], object] | None = None) -> Iterator[slice]:
    """The batches of 0..total that belong to this process, which are every ``world_size``-th.

    ``advance`` is called after each of them with the number of images that all processes should have done since. In
    the first process, these numbers add up to ``total``.
    """
    rank, world_size = rank_and_world()
    for start in range(rank * batch, total, world_size * batch):
        yield slice(start, min(start + batch, total))
        if advance:
            advance(min(world_size * batch, total - start))


def gathered(parts: dict[int, Tensor]) -> Tensor:
    """Gather the rows that all processes made, in order, on the CPU of each process.

    ``parts`` maps the number of the first row of each part to its rows.
    """
    parts = {start: rows.cpu() for start, rows in parts.items()}
    if rank_and_world()[1] > 1:
        everyone: list[dict[int, Tensor]] = [{} for _ in range(rank_and_world()[1])]
        dist.all_gather_object(everyone, parts)
        parts = {start: rows for theirs in everyone for start, rows in theirs.items()}
    return torch.cat([parts[start] for start in sorted(parts)])
