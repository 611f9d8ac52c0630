"""Class-balanced sampling in one process or several."""

import math
import sys
import warnings
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from semantic_aug._datasets import dataset_labels
from semantic_aug._distributed import rank_and_world
from semantic_aug.labels import label_column

__all__ = ["ClassBalancedSampler", "dataset_labels"]

# Modules that iterate over another sampler, to give each process its share of it.
SPLITTERS = (
    "accelerate.data_loader",
    "lightning.fabric.utilities.distributed",
    "lightning_fabric.utilities.distributed",
)


class ClassBalancedSampler(Sampler[int]):
    """Sample indices so that every class is equally frequent, and so is every image within a class.

    In each epoch, all ranks make the same draw of ``num_samples`` positions, and each rank takes every
    ``world_size``-th of them. The ranks are therefore disjoint. The counts of two classes, or of two images of a class,
    differ by at most 1.

    Args:
        labels: class index of every image of the data set, (N,), see ``dataset_labels``.
        num_samples: length of an epoch over all ranks (None: N), rounded up to a multiple of ``world_size``.
        seed: seed of the draw. It must be the same on all ranks.
        rank, world_size: this process and the number of processes (None: those of ``torch.distributed`` if it is
            initialised, else 0 and 1).

    In one process, an epoch is counted each time the sampler is iterated, unless ``set_epoch`` is called. A resumed
    training must call it. With several processes, only ``set_epoch`` changes the epoch, as of torch's
    ``DistributedSampler``, so that the ranks stay disjoint whatever a rank does to its iterators.

    If ``accelerator.prepare`` or Lightning splits the draw between the processes, pass ``rank=0, world_size=1``.

    Raises ValueError for labels that are not a list of integers or names, and for a rank that is not below
    ``world_size``. Raises RuntimeError if the draw would be split twice, or not at all.

    Example::

        labels = [0] * 90 + [1] * 10
        data = [(torch.rand(1, 48, 48), label) for label in labels]
        loader = DataLoader(data, batch_size=20, sampler=ClassBalancedSampler(labels))
        seen = torch.cat([labels for images, labels in loader])
        assert seen.bincount().tolist() == [50, 50]
    """

    def __init__(
        self,
        labels: Sequence[int] | Tensor,
        *,
        num_samples: int | None = None,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        if isinstance(labels, Dataset):
            raise TypeError(
                f"labels must be class indices (N,), got a {type(labels).__name__}; pass its targets, or "
                f"semantic_aug.sampling.dataset_labels(data)"
            )
        table = label_column(labels)
        if table.ndim != 1 or not len(table) or table.is_floating_point() or table.dtype == torch.bool:
            raise ValueError(f"labels must be class indices (N,), N >= 1, got {tuple(table.shape)} of {table.dtype}")
        if num_samples is not None and num_samples < 1:
            raise ValueError(f"num_samples must be at least 1, got {num_samples}")
        self._told = world_size is not None
        here, processes = rank_and_world()
        rank = here if rank is None else rank
        world_size = processes if world_size is None else world_size
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must lie in 0..{world_size - 1}, got {rank}")
        self.rank, self.world_size, self.seed, self.epoch = rank, world_size, seed, 0
        self._finished: int | None = None  # the epoch that was last iterated to its end, since ``set_epoch``
        self.num_samples = math.ceil((num_samples or len(table)) / world_size) * world_size
        # The images ordered by class, and their classes, numbered from 0 without gaps.
        self._classes, self._images = table.cpu().unique(return_inverse=True)[1].sort(stable=True)
        self._sizes = self._classes.bincount()

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration. In one process, later iterations continue from there."""
        self.epoch, self._finished = epoch, None

    def __len__(self) -> int:
        return self.num_samples // self.world_size

    def __repr__(self) -> str:
        return (
            f"ClassBalancedSampler(num_samples={self.num_samples}, seed={self.seed}, rank={self.rank}, "
            f"world_size={self.world_size})"
        )

    def __iter__(self) -> Iterator[int]:
        epoch, processes = self.epoch, rank_and_world()[1]
        self._check_split(processes)
        if processes == self.world_size == 1:
            self.epoch += 1
        elif self._finished == epoch:
            warnings.warn(
                f"epoch {epoch} is drawn again; with several processes, call set_epoch(epoch) before each epoch",
                UserWarning,
                stacklevel=2,
            )
        yield from self._draw(epoch)[self.rank :: self.world_size].tolist()
        self._finished = epoch

    def _check_split(self, processes: int) -> None:
        splitter = _splitter()
        if splitter is not None and self.world_size > 1:
            raise RuntimeError(
                f"{splitter} splits the draw of this sampler between the processes a second time; pass rank=0, "
                f"world_size=1 to ClassBalancedSampler"
            )
        if splitter is None and not self._told and self.world_size != processes:
            raise RuntimeError(
                f"the sampler was made for {self.world_size} process(es) and there are {processes} now; make it after "
                f"the process group, or pass rank= and world_size="
            )

    def _draw(self, epoch: int) -> Tensor:
        """The draw of all ranks together, int64 (num_samples,).

        All classes are drawn at once, because a few calls for each of thousands of classes would take most of the time.
        """
        generator = torch.Generator().manual_seed((self.seed * 0x9E3779B1 + epoch) % 2**63)
        # In each row of K positions, every class has one. ``positions`` (K, rows) has those of each class.
        rows = range(0, self.num_samples, len(self._sizes))
        orders = [torch.randperm(len(self._sizes), generator=generator, device="cpu") for _ in rows]
        positions = torch.stack([order + row for row, order in zip(rows, orders, strict=True)], 1)
        within = positions < self.num_samples
        wanted = within.sum(1)
        # Each class shuffles its images as often as it needs. ``drawn`` has an entry for each image and shuffle.
        shuffles = -(-wanted // self._sizes)
        times = shuffles[self._classes]
        drawn = _count(len(times)).repeat_interleave(times)
        shuffle = (_before(shuffles)[self._classes] - _before(times))[drawn] + _count(len(drawn))
        # Sort by class and shuffle, and at random within a shuffle. Ties must not depend on the machine.
        random = torch.randint(2**32, shuffle.shape, generator=generator, dtype=torch.int64, device="cpu")
        drawn = drawn[(shuffle * 2**32 + random).argsort(stable=True)]
        # Of each class, the first ones go to its positions.
        first = _before(shuffles * self._sizes) - _before(wanted)
        indices = torch.empty(self.num_samples, dtype=torch.int64, device="cpu")
        indices[positions[within]] = self._images[drawn[_count(self.num_samples) + first.repeat_interleave(wanted)]]
        return indices


def _count(n: int) -> Tensor:
    return torch.arange(n, device="cpu")


def _before(counts: Tensor) -> Tensor:
    """How many there are before each, of things in a row with these ``counts``."""
    return counts.cumsum(0) - counts


def _splitter() -> str | None:
    """The package that is iterating over the sampler in order to split what it gives. None if there is none.

    Only the call stack tells, because the sampler is wrapped after it was made and the wrapper leaves no trace on it.
    """
    frame = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__")
        if module in SPLITTERS:
            return module.split(".")[0]
        frame = frame.f_back  # type: ignore[assignment]
    return None
