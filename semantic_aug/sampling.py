"""Class-balanced sampling in one process or several."""

import math
from collections.abc import Iterator, Sequence

import torch
import torch.distributed
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from semantic_aug._datasets import dataset_labels
from semantic_aug._random import evenly
from semantic_aug.labels import indices_by_class, label_column

__all__ = ["ClassBalancedSampler", "dataset_labels"]


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

    An epoch is counted each time the sampler is iterated, unless ``set_epoch`` is called. A resumed training must call
    it. Raises ValueError for labels that are not a list of integers, and for a rank that is not below ``world_size``.

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
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        if rank is None:
            rank = torch.distributed.get_rank() if distributed else 0
        if world_size is None:
            world_size = torch.distributed.get_world_size() if distributed else 1
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must lie in 0..{world_size - 1}, got {rank}")
        self.rank, self.world_size, self.seed, self.epoch = rank, world_size, seed, 0
        self.num_samples = math.ceil((num_samples or len(table)) / world_size) * world_size
        self._members = indices_by_class(table.cpu().unique(return_inverse=True)[1])

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration. Later iterations continue from there."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.num_samples // self.world_size

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed((self.seed * 0x9E3779B1 + self.epoch) % 2**63)
        self.epoch += 1
        classes = evenly(torch.arange(len(self._members), device="cpu"), self.num_samples, generator)
        positions = indices_by_class(classes, len(self._members))
        drawn = [evenly(each, len(at), generator) for each, at in zip(self._members, positions, strict=True)]
        indices = torch.empty(self.num_samples, dtype=torch.int64, device="cpu")
        indices[torch.cat(positions)] = torch.cat(drawn)
        return iter(indices[self.rank :: self.world_size].tolist())
