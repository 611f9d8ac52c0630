"""Image folders, with a sub-folder for each class that has images in it or anywhere below."""

import os
from pathlib import Path

from torch import Tensor

from semantic_aug.data.source import DataError, Source
from semantic_aug.images import file_to_bytes

EXTENSIONS = {
    *(".png", ".jpg", ".jpeg", ".jfif", ".jp2", ".webp", ".avif", ".bmp", ".gif", ".tif", ".tiff", ".tga"),
    *(".pbm", ".pgm", ".ppm", ".pnm"),
}


def open_folder(folder: str | Path) -> Source:
    """``FOLDER/<class>/**/*.png, jpg, webp, ...``. A file that vanishes before it is read is a DataError."""
    classes, files, labels = scan_folder(folder)

    def read(number: int, channels: int | None, size: int | None) -> Tensor:
        try:
            return file_to_bytes(str(files[number]), channels, size)
        except FileNotFoundError as error:
            if os.path.lexists(files[number]):  # a broken link
                raise
            raise DataError(
                f"{files[number]}: gone since {folder} was listed; nothing may change it meanwhile"
            ) from error

    return Source(str(folder), classes, labels, files, read, files)


def scan_folder(folder: str | Path) -> tuple[list[str], list[Path], list[int]]:
    """Classes (the names of the sub-folders), image files and their labels. Raises DataError if there are none."""
    root = Path(folder)
    classes = class_folders(root)
    if not classes:
        raise DataError(f"{root}: no sub-folders; expected one per class with images in it")
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = _images_below(root / name)
        if not found:
            raise DataError(f"{root / name}: no images in this class folder; add some or remove the folder")
        files += found
        labels += [label] * len(found)
    return classes, files, labels


def class_folders(root: Path) -> list[str]:
    """The sorted names of the sub-folders that are not hidden. Raises DataError if ``root`` is not a folder."""
    if root.is_file():
        raise DataError(f"{root}: is a file; expected an image folder, one sub-folder per class")
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected an image folder, one sub-folder per class")
    return sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def is_image(name: str) -> bool:
    """Whether a file has the name of an image and is not hidden (macOS leaves files such as ``._name.jpg``)."""
    return os.path.splitext(name)[1].lower() in EXTENSIONS and not name.startswith(".")


def _images_below(folder: Path) -> list[Path]:
    """The images in the order of torchvision's ``ImageFolder``. Links are followed, and hidden folders are skipped."""
    found: dict[str, list[Path]] = {}
    seen: set[str] = set()
    for directory, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(directory)
        folders[:] = [] if real in seen else [name for name in folders if not name.startswith(".")]
        if real not in seen:  # a link may lead back to a folder that was already visited
            found[directory] = [Path(directory, name) for name in sorted(names) if is_image(name)]
        seen.add(real)
    return [path for directory in sorted(found) for path in found[directory]]
