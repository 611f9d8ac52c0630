"""One process or many: joining those that ``torchrun`` or ``accelerate launch`` started, and sums over them."""

import os
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor

if TYPE_CHECKING:
    from accelerate import PartialState


ALONE = timedelta(days=1)  # that the first process may take to read a data set or train a judge while others wait


def join(device: str | None = None) -> "PartialState":
    """Join the other processes, if this one was launched as one of several, on "cpu", "cuda" or None (the best).

    A process on its own may also name its GPU, "cuda:1".

    Raises RuntimeError where the launcher's number of processes is not the one that was reached:
    ``accelerate launch --cpu`` starts a single process, whatever it was asked for.
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
    """Wait for the other processes and part from them, the last thing that a program of several does.

    A process that ends before may be aborted by threads of the communication library that still run.
    """
    if dist.is_available() and dist.is_initialized():
        wait()
        dist.destroy_process_group()


def wait() -> None:
    """Wait until every process is here."""
    if dist.is_available() and dist.is_initialized():
        dist.barrier()


def launched() -> int:
    """How many processes the launcher started: 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank_and_world() -> tuple[int, int]:
    """This process's number and how many there are."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def sum_over_processes(values: Tensor) -> Tensor:
    """The element-wise sum over all processes, the same bits on each; ``values`` itself where there is one."""
    if rank_and_world()[1] > 1:
        values = values.clone()
        dist.all_reduce(values)
    return values


def mean_over_processes(values: Tensor) -> Tensor:
    """As ``sum_over_processes``, divided by the number of processes."""
    return sum_over_processes(values) / rank_and_world()[1]


def shares(total: int, batch: int) -> Iterator[slice]:
    """The batches of 0..total that this process takes: every ``world_size``-th."""
    rank, world_size = rank_and_world()
    for start in range(rank * batch, total, world_size * batch):
        yield slice(start, min(start + batch, total))


def gathered(parts: dict[int, Tensor]) -> Tensor:
    """Rows that every process made, by the number of the first row of each part, in order, on the CPU of each."""
    parts = {start: rows.cpu() for start, rows in parts.items()}
    if rank_and_world()[1] > 1:
        everyone: list[dict[int, Tensor]] = [{} for _ in range(rank_and_world()[1])]
        dist.all_gather_object(everyone, parts)
        parts = {start: rows for theirs in everyone for start, rows in theirs.items()}
    return torch.cat([parts[start] for start in sorted(parts)])
