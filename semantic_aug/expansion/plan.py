"""The plan of an expanded data set: how many new images it has, and from which original each is made."""

from collections.abc import Sequence

import torch

from semantic_aug._random import evenly, seeded
from semantic_aug.data.source import Source
from semantic_aug.labels import indices_by_class


class Plan:
    """The original from which each new image is made. The originals of a class are used evenly.

    New images are numbered in random order, so that classes are mixed in unfinished data sets, blocks and shards.

    Attributes:
        sources: number of the original of each new image, int64 (n,).
        copies: number of each new image within its class, int64 (n,).
    """

    def __init__(self, originals: Source, new: Sequence[int], seed: int) -> None:
        members = indices_by_class(torch.tensor(originals.labels, device="cpu"), len(originals.classes))
        sources = [
            evenly(of_class, count, seeded(seed, "sources", name))
            for name, of_class, count in zip(originals.classes, members, new, strict=True)
        ]
        order = torch.randperm(sum(new), generator=seeded(seed, "order"), device="cpu")
        self.sources = torch.cat(sources)[order]
        self.copies = torch.cat([torch.arange(count, device="cpu") for count in new])[order]

    def __len__(self) -> int:
        return len(self.sources)


def new_images(
    counts: Sequence[int], *, balance: bool = False, per_class: int | None = None, times: int | None = None
) -> list[int]:
    """How many new images each class gets.

    A class grows to the size of the largest class, to ``per_class`` images, or to ``times`` as many. A class that
    already has more gets none. Raises ValueError unless exactly one of the three is given.
    """
    if balance + (per_class is not None) + (times is not None) != 1:
        raise ValueError("expected one of --balance, --per-class N and --times K")
    for name, value in (("--per-class", per_class), ("--times", times)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if times is not None:
        return [count * (times - 1) for count in counts]
    target = max(counts) if per_class is None else per_class
    return [max(target - count, 0) for count in counts]
