"""A folder of images per class => tensors in memory, and the order in which a run visits them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from semantic_aug.images import bytes_to_model, file_to_bytes

EXTENSIONS = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".pgm", ".ppm"}


class DataError(ValueError):
    """The data cannot be used; the message names the folder or file."""


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

    def subset(self, indices: Sequence[int] | Tensor) -> "ImageSet":
        """The images at ``indices``, in that order."""
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        files = [self.files[i] for i in chosen.tolist()]
        return ImageSet(self.images[chosen], self.labels[chosen], self.classes, files)


def scan_folder(folder: str | Path) -> tuple[list[str], list[Path], list[int]]:
    """Classes (sub-folders by name), image files and their labels. Raises DataError where there is nothing to use."""
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected an image folder, one sub-folder per class")
    classes = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not classes:
        raise DataError(f"{root}: no sub-folders; expected one per class with images in it")
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = sorted(path for path in (root / name).rglob("*") if path.suffix.lower() in EXTENSIONS)
        if not found:
            raise DataError(f"{root / name}: no images in this class folder; add some or remove the folder")
        files += found
        labels += [label] * len(found)
    return classes, files, labels


def load_folder(folder: str | Path, channels: int, size: int, *, skip_bad: bool = False) -> ImageSet:
    """Decode an image folder, each image converted to ``channels`` and resized to ``size`` x ``size``.

    Raises DataError that names the first unreadable image and counts them all, unless ``skip_bad``.
    """
    classes, files, labels = scan_folder(folder)
    images, good, bad = [], [], []
    for index, path in enumerate(files):
        try:
            images.append(file_to_bytes(str(path), channels, size))
            good.append(index)
        except (OSError, ValueError, SyntaxError) as error:  # Pillow raises all three for broken files
            bad.append((path, error))
    if bad and not skip_bad:
        path, reason = bad[0]
        raise DataError(
            f"{path}: cannot be read as an image ({reason}); {len(bad)} such in all (--skip-bad leaves them out)"
        )
    kept = torch.tensor(labels)[good]
    for label, name in enumerate(classes):
        if not (kept == label).any():
            raise DataError(f"{Path(folder) / name}: none of its images can be read")
    return ImageSet(torch.stack(images), kept, classes, [files[i] for i in good], len(bad))


def hold_out(data: ImageSet, fraction: float, seed: int) -> tuple[ImageSet, ImageSet]:
    """Split into (training, held out) by a seeded draw; at least one image on each side where there are two."""
    order = torch.randperm(len(data), generator=seeded(seed, "held out"))
    n = min(max(round(len(data) * fraction), 1), len(data) - 1) if fraction else 0
    return data.subset(order[n:].sort().values), data.subset(order[:n].sort().values)


def seeded(*key: int | str) -> torch.Generator:
    """A CPU generator for one purpose at one moment, so that a resumed run draws what it would have drawn."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


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
                self._epoch = epoch
                self._order = torch.randperm(self.n, generator=seeded(self.seed, "epoch", epoch))
            part = self._order[offset : offset + count]
            parts.append(part)
            start, count = start + len(part), count - len(part)
        return torch.cat(parts)
