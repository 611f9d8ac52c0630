"""Labelled images that have not been decoded yet. Every source of data returns this record."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import Any

from torch import Tensor

from semantic_aug._text import is_utf8


class DataError(ValueError):
    """The data cannot be used. The message names the folder or file."""


@dataclass(frozen=True)
class Source:
    """Labelled images that have not been decoded yet.

    Args:
        origin: name of the source in messages.
        classes: names in label order. Each class has at least one image.
        labels: class index of every image.
        files: path of every image, or ``origin/number`` for an image that has no file of its own.
        read: (number, channels, size) => uint8 (channels, size, size). If channels is None, the image keeps its
            1 or 3 channels. If size is None, it keeps its height and width. Several threads may call it at once,
            and Ray pickles it, so it must not hold an open file.
        stamped: files whose sizes and times show whether an image has changed. Empty if there are no such files.
    """

    origin: str
    classes: list[str]
    labels: list[int]
    files: list[Path]
    read: Callable[[int, int | None, int | None], Tensor]
    stamped: list[Path]

    def __post_init__(self) -> None:
        for name in self.classes:
            if not is_utf8(name):
                raise DataError(f"{self.origin}: the class name {name!r:.80} is not UTF-8, so it cannot be stored")

    def __len__(self) -> int:
        return len(self.files)

    def counts(self) -> list[int]:
        """Images per class."""
        times = Counter(self.labels)
        return [times[label] for label in range(len(self.classes))]

    def without(self, numbers: Iterable[int]) -> "Source":
        """The same classes without the images that have these numbers. The others keep their order."""
        kept = sorted({*range(len(self))}.difference(numbers))
        return replace(
            self,
            labels=[self.labels[number] for number in kept],
            files=[self.files[number] for number in kept],
            read=lambda number, channels, size: self.read(kept[number], channels, size),
        )


def name_classes(origin: str, labels: Sequence[Any], names: Sequence[str] | None) -> tuple[list[str], list[int]]:
    """The names of the classes that have an image, and the labels renumbered to match them.

    Without ``names``, the numbers are the names. Classes are compared without case, so names that differ only in case
    get their label appended. Raises DataError if there are no labels, or if one is not a class index or has no name.
    """
    if not len(labels):
        raise DataError(f"{origin}: has no images")
    wrong = [label for label in labels if not (isinstance(label, Integral) and int(label) >= 0)]
    if wrong:
        raise DataError(f"{origin}: has images whose label is no class index but {wrong[0]!r:.40}")
    present = sorted({int(label) for label in labels})
    if names is not None and present[-1] >= len(names):
        raise DataError(f"{origin}: has the label {present[-1]}, but names only {len(names)} classes")
    classes = [str(label) if names is None else names[label] for label in present]
    times = Counter(name.casefold() for name in classes)
    classes = [
        name if times[name.casefold()] == 1 else f"{name} ({label})"
        for label, name in zip(present, classes, strict=True)
    ]
    index = {label: position for position, label in enumerate(present)}
    return classes, [index[int(label)] for label in labels]


def one_line(error: Exception) -> str:
    """The text of an error without line breaks, or its type if it has no text."""
    return " ".join(str(error).split()) or type(error).__name__
