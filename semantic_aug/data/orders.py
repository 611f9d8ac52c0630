"""The order in which training visits images: an endless stream that can start at any position."""

from collections.abc import Sequence

import torch
from torch import Tensor

from semantic_aug._random import seeded
from semantic_aug.sampling import ClassBalancedSampler


class EndlessOrder:
    """An endless stream over ``n`` images, with a new permutation in each epoch. It can start at any position."""

    def __init__(self, n: int, seed: int) -> None:
        self.n, self.seed = n, seed
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64, device="cpu")

    def __call__(self, start: int, count: int) -> Tensor:
        """Indices (count,) of the images at positions ``start`` to ``start + count`` of the stream."""
        parts = []
        while count:
            epoch, offset = divmod(start, self.n)
            if epoch != self._epoch:
                self._epoch, self._order = epoch, self._draw(epoch)
            part = self._order[offset : offset + count]
            parts.append(part)
            start, count = start + len(part), count - len(part)
        return torch.cat(parts)

    def _draw(self, epoch: int) -> Tensor:
        return torch.randperm(self.n, generator=seeded(self.seed, "epoch", epoch), device="cpu")


class BalancedOrder(EndlessOrder):
    """An endless stream in which every class is equally frequent. An epoch has as many positions as images."""

    def __init__(self, labels: Sequence[int] | Tensor, seed: int) -> None:
        super().__init__(len(labels), seed)
        self._sampler = ClassBalancedSampler(labels, seed=seed, rank=0, world_size=1)

    def _draw(self, epoch: int) -> Tensor:
        self._sampler.set_epoch(epoch)
        return torch.tensor(list(self._sampler), device="cpu")
