"""Labelled images as tensors in memory, and parts of them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from semantic_aug._files import digest_of
from semantic_aug._random import seeded
from semantic_aug.data.cache import cache_path, read_cache, write_cache
from semantic_aug.data.decoding import decode
from semantic_aug.data.find import find_source
from semantic_aug.data.folder import open_folder
from semantic_aug.data.source import Source
from semantic_aug.images import bytes_to_model
from semantic_aug.labels import indices_by_class, label_table


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled images in memory.

    Args:
        images: uint8 (N, C, S, S).
        labels: class index of every image, int64 (N,).
        classes: names in label order.
        files: the origin of every image, as in ``Source``.
        skipped: number of images that were skipped because they could not be read.
        name: name of the data set in figures. None for images that a checkpoint generated.
    """

    images: Tensor
    labels: Tensor
    classes: list[str]
    files: list[Path]
    skipped: int = 0
    name: str | None = None

    def __len__(self) -> int:
        return len(self.images)

    def counts(self) -> list[int]:
        """Images per class."""
        return torch.bincount(self.labels, minlength=len(self.classes)).tolist()

    def digest(self) -> str:
        """A hash of the pixels, labels and classes, in their order."""
        tensors = {"images": self.images, "labels": self.labels}
        return bytes(digest_of(tensors, {"classes": json.dumps(self.classes)}).tolist()).hex()

    def batch(self, indices: Tensor | slice) -> Tensor:
        """Images float32 (n, C, S, S) in [-1, 1]."""
        return bytes_to_model(self.images[indices])

    def with_classes(self, classes: Sequence[str]) -> "ImageSet":
        """The same images with labels in the order of ``classes``, matched by name. Raises as ``label_table``."""
        return replace(self, labels=label_table(self.classes, classes)[self.labels], classes=list(classes))

    def subset(self, indices: Sequence[int] | Tensor) -> "ImageSet":
        """The images at ``indices``, in that order."""
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        files = [self.files[i] for i in chosen.tolist()]
        return replace(self, images=self.images[chosen], labels=self.labels[chosen], files=files, skipped=0)


def load_data(
    spec: str | Path | Source,
    channels: int,
    size: int,
    *,
    skip_bad: bool = False,
    cache: str | Path | None = None,
) -> ImageSet:
    """Decode a data set, each image converted to ``channels`` and resized to ``size`` x ``size``.

    Args:
        spec: a ``Source``, or one of
            an image folder ``DIR/<class>/*.png, jpg, webp, ...``, but not the folder above its splits (``folder:DIR``
            is not checked for that, in case its classes are really called "train" and "test");
            a folder written by ``Dataset.save_to_disk``, or by ``DatasetDict.save_to_disk`` (its split "train";
            ``DIR/SPLIT`` is another one), with one column of type Image and one of type ClassLabel;
            ``PREFIX:NAME[/SPLIT][@ROOT]``, where SPLIT defaults to the training split and ROOT to ``data``:
            ``torchvision:CIFAR10``, ``torchvision:FashionMNIST/test@/data`` (downloaded if it is not in ROOT),
            ``rafdb:basic/test@ROOT``, ``affectnet:7/val@ROOT`` or ``affectnet:8@ROOT`` (the published layouts);
            ``fer2013.csv`` or ``fer2013.csv/SPLIT``, FER2013's single file, with the splits train, validation and test.
        skip_bad: skip and count images that cannot be read.
        cache: directory that keeps the decoded images of the last two data sets. They are memory-mapped when they are
            used again. It is not used for torchvision's data sets, because most of them are already in memory.

    Classes without images are dropped. Raises DataError for data that cannot be used. Unless ``skip_bad`` is set, it
    also raises one for unreadable images, which names the first and says how many there are.
    """
    source = spec if isinstance(spec, Source) else find_source(spec)
    if cache is None or not source.stamped:
        return _image_set(source, *decode(source, channels, size, skip_bad=skip_bad))
    path = cache_path(cache, source, channels, size, skip_bad)
    cached = read_cache(path, len(source), channels, size)
    if cached is not None:
        return _image_set(source, *cached)
    images, kept = decode(source, channels, size, skip_bad=skip_bad)
    if cache_path(cache, source, channels, size, skip_bad) == path:  # no file has changed meanwhile
        write_cache(path, images, kept)
    return _image_set(source, images, kept)


def load_folder(folder: str | Path, channels: int, size: int, *, skip_bad: bool = False) -> ImageSet:
    """Load an image folder as ``load_data`` does, whatever the names of it and its sub-folders."""
    return load_data(open_folder(folder), channels, size, skip_bad=skip_bad)


def hold_out(data: ImageSet, fraction: float, seed: int) -> tuple[ImageSet, ImageSet]:
    """Split into (training, held out) by a seeded draw. Each part gets at least one image if there are two."""
    order = torch.randperm(len(data), generator=seeded(seed, "held out"), device="cpu")
    n = min(max(round(len(data) * fraction), 1), len(data) - 1) if fraction else 0
    return data.subset(order[n:].sort().values), data.subset(order[:n].sort().values)


def cut_to_imbalance(data: ImageSet, ratio: float, seed: int = 0) -> ImageSet:
    """Cut to a long tail as in CIFAR-LT (arXiv 1901.05555).

    Class k of K keeps ``ratio ** (-k / (K - 1))`` times the largest count. A class with fewer images keeps all of them,
    and every class keeps at least one. The images are drawn with ``seed`` and stay in order. A higher ratio keeps a
    subset of what a lower one keeps. Raises ValueError for a ratio below 1.
    """
    if not ratio >= 1:
        raise ValueError(f"the imbalance ratio must be at least 1 (equal classes), got {ratio}")
    counts = data.counts()
    order = torch.randperm(len(data), generator=seeded(seed, "imbalance"), device="cpu")
    kept = []
    for label, members in enumerate(indices_by_class(data.labels[order], len(counts))):
        share = ratio ** (-label / max(len(counts) - 1, 1))
        kept.append(order[members[: max(round(max(counts) * share), 1)]])
    return data.subset(torch.cat(kept).sort().values)


def _image_set(source: Source, images: Tensor, kept: Tensor) -> ImageSet:
    labels = torch.tensor(source.labels, device="cpu")[kept]
    files = [source.files[number] for number in kept.tolist()]
    return ImageSet(images, labels, source.classes, files, len(source) - len(files), source.origin)
