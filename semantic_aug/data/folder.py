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
    seen: dict[str, str] = {}
    for label, name in enumerate(classes):
        found = _images_below(root, name, seen)
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


def _images_below(root: Path, class_name: str, seen: dict[str, str]) -> list[Path]:
    """The images in the order of torchvision's ``ImageFolder``. Links are followed, and hidden folders are skipped.

    ``seen`` maps the real path of each visited folder to its class. Raises DataError for a folder of two classes, and
    for one that cannot be read.
    """

    def fail(error: OSError) -> None:
        raise DataError(f"{error.filename}: this folder cannot be read ({error.strerror})") from error

    found: dict[str, list[Path]] = {}
    for directory, folders, names in os.walk(root / class_name, followlinks=True, onerror=fail):
        real = os.path.realpath(directory)
        other = seen.get(real)
        if other not in (None, class_name):
            raise DataError(f"{directory}: is also a folder of the class {other}; remove the link that leads there")
        folders[:] = [] if other else [name for name in folders if not name.startswith(".")]
        if not other:  # a link may lead back to a folder that was already visited
            found[directory] = [Path(directory, name) for name in sorted(names) if is_image(name)]
        seen[real] = class_name
    return [path for directory in sorted(found) for path in found[directory]]
