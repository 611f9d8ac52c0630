"""Labelled images => tensors in memory, parts of them, and the order in which a run visits them."""

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from semantic_aug._io import save_whole
from semantic_aug.data.source import DataError, Source, find_source, image_folder
from semantic_aug.images import bytes_to_model
from semantic_aug.labels import label_table
from semantic_aug.sampling import ClassBalancedSampler, seeded

CHUNK = 16  # images that a thread reads at a time: few enough to stop soon, many enough to be worth a call
CACHE_FORMAT = 1
OLD_CACHES = 1  # kept beside the newest: of the training images, when the validation images are written


@dataclass(frozen=True)
class ImageSet:
    """Images uint8 (N, C, S, S) with their labels int64 (N,), the class names, and the files they came from."""

    images: Tensor
    labels: Tensor
    classes: list[str]
    files: list[Path]
    skipped: int = 0

    def __len__(self) -> int:
        return len(self.images)

    def counts(self) -> list[int]:
        """Images per class."""
        return torch.bincount(self.labels, minlength=len(self.classes)).tolist()

    def batch(self, indices: Tensor | slice) -> Tensor:
        """Images float32 (n, C, S, S) in [-1, 1]."""
        return bytes_to_model(self.images[indices])

    def with_classes(self, classes: Sequence[str]) -> "ImageSet":
        """The same images, their labels those of ``classes`` by name. Raises ValueError as ``label_table``."""
        return replace(self, labels=label_table(self.classes, classes)[self.labels], classes=list(classes))

    def subset(self, indices: Sequence[int] | Tensor) -> "ImageSet":
        """The images at ``indices``, in that order."""
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        files = [self.files[i] for i in chosen.tolist()]
        return ImageSet(self.images[chosen], self.labels[chosen], self.classes, files)


def load_data(
    spec: str | Path, channels: int, size: int, *, skip_bad: bool = False, cache: str | Path | None = None
) -> ImageSet:
    """Decode a data set, each image converted to ``channels`` and resized to ``size`` x ``size``.

    Args:
        spec: one of
            an image folder ``DIR/<class>/*.png, jpg, webp, ...``;
            a folder written by ``Dataset.save_to_disk``, or by ``DatasetDict.save_to_disk`` (its split "train";
            ``DIR/SPLIT`` is another one), with one column of type Image and one of type ClassLabel;
            ``PREFIX:NAME[/SPLIT][@ROOT]``, where SPLIT is by default the training split and ROOT ``data``:
            ``torchvision:CIFAR10``, ``torchvision:FashionMNIST/test@/data`` (downloaded where it is not in ROOT),
            ``rafdb:basic/test@ROOT``, ``affectnet:7/val@ROOT`` or ``affectnet:8@ROOT`` (the published layouts).
        skip_bad: leave out, and count, images that cannot be read.
        cache: directory that keeps the decoded images of the last two data sets, memory-mapped when they are used
            again. Not used for torchvision's data sets, most of which are in memory already.

    Classes without any image are left out. Raises DataError for data that cannot be used, and, unless ``skip_bad``,
    one that names the first unreadable image and counts them all.
    """
    source = find_source(spec)
    if cache is None or not source.stamped:
        return _image_set(source, *decode(source, channels, size, skip_bad=skip_bad))
    path = _cache_path(cache, source, channels, size, skip_bad)
    cached = _read_cache(path)
    if cached is not None:
        return _image_set(source, *cached)
    images, kept = decode(source, channels, size, skip_bad=skip_bad)
    data = _image_set(source, images, kept)
    if _cache_path(cache, source, channels, size, skip_bad) == path:  # no file has changed meanwhile
        _write_cache(path, data, kept)
    return data


def load_folder(folder: str | Path, channels: int, size: int, *, skip_bad: bool = False) -> ImageSet:
    """``load_data`` of an image folder, whatever its name looks like."""
    source = image_folder(folder)
    return _image_set(source, *decode(source, channels, size, skip_bad=skip_bad))


def decode(
    source: Source, channels: int, size: int, *, skip_bad: bool = False, threads: int | None = None
) -> tuple[Tensor, Tensor]:
    """Images uint8 (n, channels, size, size), and the numbers int64 (n,) they have in ``source``, in its order.

    ``threads`` (None: one per CPU of this process) changes nothing but the time. Raises DataError as ``load_data``.
    """
    images = torch.empty((len(source.files), channels, size, size), dtype=torch.uint8)

    def keep(number: int) -> None:
        images[number] = source.read(number, channels, size)

    kept = _read_all(source, keep, skip_bad, threads)
    return (images if len(kept) == len(images) else images[kept]), kept


def readable(source: Source, *, skip_bad: bool = False, threads: int | None = None) -> Tensor:
    """Numbers int64 (n,) of the images that can be read, each tried. Raises DataError as ``load_data``."""
    return _read_all(source, lambda number: source.read(number, None, None), skip_bad, threads)


def _read_all(source: Source, read: Callable[[int], object], skip_bad: bool, threads: int | None) -> Tensor:
    """Call ``read`` with the number of every image; int64 (n,) those for which it did not fail."""
    total = len(source.files)

    def attempt(numbers: range) -> list[tuple[int, str]]:
        failed = []
        for number in numbers:
            try:
                read(number)
            except (DataError, MemoryError):
                raise
            except Exception as error:  # whatever a damaged file makes Pillow raise
                failed.append((number, str(error) or type(error).__name__))
        return failed

    chunks = [range(start, min(start + CHUNK, total)) for start in range(0, total, CHUNK)]
    with ThreadPoolExecutor(threads or _cpus()) as pool:  # Pillow decodes and resizes without the GIL
        bad = dict(each for failed in pool.map(attempt, chunks) for each in failed)
    if not bad:
        return torch.arange(total)
    if not skip_bad:
        number, reason = next(iter(bad.items()))
        raise DataError(
            f"{source.files[number]}: cannot be read as an image ({reason}); {len(bad)} such in all "
            f"(--skip-bad leaves them out)"
        )
    kept = torch.tensor([number for number in range(total) if number not in bad], dtype=torch.int64)
    counts = torch.bincount(torch.tensor(source.labels)[kept], minlength=len(source.classes))
    for name, count in zip(source.classes, counts.tolist(), strict=True):
        if not count:
            raise DataError(f"{source.origin}/{name}: none of its images can be read")
    return kept


def _image_set(source: Source, images: Tensor, kept: Tensor) -> ImageSet:
    labels = torch.tensor(source.labels)[kept]
    files = [source.files[number] for number in kept.tolist()]
    return ImageSet(images, labels, source.classes, files, len(source.files) - len(files))


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cache_path(cache: str | Path, source: Source, channels: int, size: int, skip_bad: bool) -> Path:
    """Name of the cache file: a hash of all that its content depends on."""
    key = json.dumps([CACHE_FORMAT, channels, size, skip_bad, stamp(source)]).encode()
    return Path(cache) / f"images-{hashlib.blake2b(key, digest_size=16).hexdigest()}.safetensors"


def stamp(source: Source) -> str:
    """A hash of the labels, and of the names, sizes and times of the files: another one where the data has changed."""
    known_by = None if source.stamped else source.origin
    digest = hashlib.blake2b(json.dumps([known_by, source.classes, source.labels]).encode(), digest_size=16)
    for path in source.stamped:
        try:
            found = os.stat(path)
            file = (os.path.abspath(path), found.st_size, found.st_mtime_ns)
        except OSError:  # not there, which reading will tell
            file = (os.path.abspath(path), -1, -1)
        digest.update(json.dumps(file).encode())
    return digest.hexdigest()


def _read_cache(path: Path) -> tuple[Tensor, Tensor] | None:
    """Images and their numbers, memory-mapped; None where the file is not there or broken."""
    try:
        with safe_open(path, "pt") as file:
            images, kept = file.get_tensor("images"), file.get_tensor("kept")
    except (SafetensorError, OSError):
        return None
    with suppress(OSError):
        os.utime(path)  # the oldest are deleted first
    return images, kept


def _write_cache(path: Path, data: ImageSet, kept: Tensor) -> None:
    """Write atomically and delete older cache files; a warning where that fails, as the images are there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_whole({"images": data.images, "kept": kept}, path, path.with_suffix(f".{os.getpid()}.part"), {})
    except (SafetensorError, OSError) as error:
        warnings.warn(f"the decoded images cannot be kept in {path.parent} ({error})", stacklevel=3)
        return
    with suppress(OSError):  # another process may delete the same ones
        others = [other for other in path.parent.glob("images-*.safetensors") if other != path]
        for old in sorted(others, key=os.path.getmtime)[:-OLD_CACHES]:
            old.unlink(missing_ok=True)


def hold_out(data: ImageSet, fraction: float, seed: int) -> tuple[ImageSet, ImageSet]:
    """Split into (training, held out) by a seeded draw; at least one image on each side where there are two."""
    order = torch.randperm(len(data), generator=seeded(seed, "held out"))
    n = min(max(round(len(data) * fraction), 1), len(data) - 1) if fraction else 0
    return data.subset(order[n:].sort().values), data.subset(order[:n].sort().values)


def cut_to_imbalance(data: ImageSet, ratio: float, seed: int = 0) -> ImageSet:
    """A long tail (as CIFAR-LT, arXiv 1901.05555): class k of K keeps ``ratio ** (-k / (K - 1))`` of the largest count.

    A class that has fewer images keeps them all, and each at least one. They are drawn by ``seed``, those of a higher
    ratio among those of a lower one, and stay in order. Raises ValueError for a ratio below 1.
    """
    if not ratio >= 1:
        raise ValueError(f"the imbalance ratio must be at least 1 (equal classes), got {ratio}")
    counts = data.counts()
    order = torch.randperm(len(data), generator=seeded(seed, "imbalance"))
    kept = []
    for label in range(len(counts)):
        share = ratio ** (-label / max(len(counts) - 1, 1))
        members = order[data.labels[order] == label]
        kept.append(members[: max(round(max(counts) * share), 1)])
    return data.subset(torch.cat(kept).sort().values)


class EndlessOrder:
    """Positions of an endless stream over ``n`` images, a new permutation each epoch, that can start anywhere."""

    def __init__(self, n: int, seed: int) -> None:
        self.n, self.seed = n, seed
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)

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
        return torch.randperm(self.n, generator=seeded(self.seed, "epoch", epoch))


class BalancedOrder(EndlessOrder):
    """An endless stream in which every class is equally frequent; an epoch has as many positions as images."""

    def __init__(self, labels: Sequence[int] | Tensor, seed: int) -> None:
        super().__init__(len(labels), seed)
        self._sampler = ClassBalancedSampler(labels, seed=seed, rank=0, world_size=1)

    def _draw(self, epoch: int) -> Tensor:
        self._sampler.set_epoch(epoch)
        return torch.tensor(list(self._sampler))
