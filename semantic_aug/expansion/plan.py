"""What an expanded data set consists of: the originals, how many new images, and what each is made from."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS

from semantic_aug.sampling import evenly, seeded


@dataclass(frozen=True)
class Originals:
    """The images to expand.

    Args:
        classes: names in label order; each has an image.
        labels: class index of every image.
        files: where every image is. One without an image's extension is no file, but an entry of a data set.
        read: number => uint8 (1 or 3, H, W), from several threads at once.
    """

    classes: Sequence[str]
    labels: Sequence[int]
    files: Sequence[Path]
    read: Callable[[int], Tensor]

    @classmethod
    def of(cls, source: Any, skipped: Iterable[int] = ()) -> "Originals":
        """Those of a ``trainer.sources.Source``, in their own size and channels, without the numbers in ``skipped``."""
        kept = sorted({*range(len(source.files))}.difference(skipped))
        labels, files = [source.labels[number] for number in kept], [source.files[number] for number in kept]
        return cls(source.classes, labels, files, lambda number: source.read(kept[number], None, None))

    def counts(self) -> list[int]:
        """Images per class."""
        return torch.bincount(torch.tensor(self.labels), minlength=len(self.classes)).tolist()

    def keeps_file(self, number: int) -> bool:
        """Whether an image is a file that everybody reads, and so is taken over as it is; others become PNG."""
        return self.files[number].suffix.lower() in IMG_EXTENSIONS


class Plan:
    """Which original every new image is made from; the sources of a class are used evenly.

    New images are numbered in a random order, so that unfinished data sets, blocks and shards are mixed.

    Attributes:
        sources: number of the original of each new image, int64 (n,).
        copies: which new image of its class each one is, int64 (n,).
    """

    def __init__(self, originals: Originals, new: Sequence[int], seed: int) -> None:
        labels = torch.tensor(originals.labels)
        sources = [
            evenly((labels == label).nonzero().flatten(), count, seeded(seed, "sources", name))
            for label, (name, count) in enumerate(zip(originals.classes, new, strict=True))
        ]
        order = torch.randperm(sum(new), generator=seeded(seed, "order"))
        self.sources = torch.cat(sources)[order]
        self.copies = torch.cat([torch.arange(count) for count in new])[order]

    def __len__(self) -> int:
        return len(self.sources)


def new_images(
    counts: Sequence[int], *, balance: bool = False, per_class: int | None = None, times: int | None = None
) -> list[int]:
    """How many new images each class gets: up to the largest, up to ``per_class``, or ``times`` as many in all.

    A class that has more already gets none. Exactly one of the three is to be given, else ValueError.
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
