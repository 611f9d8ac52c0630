"""Data sets of facial expressions as published: RAF-DB, AffectNet and FER2013."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from semantic_aug.data.folder import is_image
from semantic_aug.data.source import DataError, Source, name_classes, one_line
from semantic_aug.images import file_to_bytes

# In the order of the published labels.
FER2013 = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
RAFDB = ("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral")
AFFECTNET = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt")


def open_rafdb(name: str, split: str | None, root: Path) -> Source:
    """RAF-DB's basic emotions as published; ``root`` has ``EmoLabel/`` and ``Image/``, or ``basic/`` that has them."""
    split = _one_of("rafdb", name, ["basic"], split, ["train", "test"])
    root = root / "basic" if (root / "basic").is_dir() else root
    listing = root / "EmoLabel" / "list_patition_label.txt"  # sic
    if not listing.is_file():
        raise DataError(f"{listing}: no such file; the ROOT of rafdb:basic has EmoLabel/ and Image/ in it")
    stems: list[str] = []
    labels: list[int] = []
    for number, line in enumerate(listing.read_text(encoding="utf-8").splitlines(), start=1):
        matched = re.fullmatch(r"(\w+)\.jpg\s+([1-7])\s*", line)
        if line.strip() and not matched:
            raise DataError(f"{listing}: line {number} is {line!r:.60}; expected one like 'train_00001.jpg 5'")
        if matched and matched[1].startswith(split):
            stems.append(matched[1])
            labels.append(int(matched[2]) - 1)
    files = [root / "Image" / "aligned" / f"{stem}_aligned.jpg" for stem in stems]
    if not any(path.is_file() for path in files[:1]):
        files = [root / "Image" / "original" / f"{stem}.jpg" for stem in stems]
    return _listed(f"rafdb:basic/{split}@{root}", files, labels, RAFDB)


def open_affectnet(name: str, split: str | None, root: Path) -> Source:
    """AffectNet, the first 7 expressions or all 8, in either published layout.

    ``train_set/images/*.jpg`` with ``train_set/annotations/*_exp.npy`` (``val_set`` likewise), or ``training.csv``
    (``validation.csv``), in ``root`` or its ``Manually_Annotated_file_lists``, with the images it lists in ``root``
    or its ``Manually_Annotated_Images``. Other labels (no expression, uncertain, no face) are left out.
    """
    split = _one_of("affectnet", name, ["7", "8"], split, ["train", "val"])
    folder = root / f"{split}_set"
    table = {"train": "training.csv", "val": "validation.csv"}[split]
    tables = [path for path in (root / table, root / "Manually_Annotated_file_lists" / table) if path.is_file()]
    if (folder / "images").is_dir():
        labelled = _affectnet_folder(folder)
    elif tables:
        images = root / "Manually_Annotated_Images"
        labelled = _affectnet_table(tables[0], images if images.is_dir() else root)
    else:
        raise DataError(f"{root}: has neither {folder.name}/images nor {table}; the ROOT of affectnet: has one of them")
    labelled = [(path, label) for path, label in labelled if label < int(name)]
    files, labels = [path for path, _ in labelled], [label for _, label in labelled]
    return _listed(f"affectnet:{name}/{split}@{root}", files, labels, AFFECTNET)


def _affectnet_folder(folder: Path) -> list[tuple[Path, int]]:
    import numpy as np

    labelled = []
    for path in sorted(path for path in (folder / "images").iterdir() if is_image(path.name)):
        annotation = folder / "annotations" / f"{path.stem}_exp.npy"
        try:
            labelled.append((path, int(np.load(annotation, allow_pickle=False).item())))  # published as text
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{annotation}: cannot be read as the label of {path.name} ({one_line(error)})") from error
    return labelled


def _affectnet_table(table: Path, images: Path) -> list[tuple[Path, int]]:
    with table.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.reader(file) if row]
    path, expression = 0, 6  # the published columns, where the header is missing
    if rows and "expression" in rows[0]:
        header = rows.pop(0)
        path, expression = header.index("subDirectory_filePath"), header.index("expression")
    try:
        return [(images / row[path], int(row[expression])) for row in rows]
    except (ValueError, IndexError) as error:
        raise DataError(
            f"{table}: expected subDirectory_filePath and expression in every row ({one_line(error)})"
        ) from error


def _listed(origin: str, files: list[Path], labels: list[int], names: Sequence[str]) -> Source:
    """Files that a list names: one that is not there is an image that cannot be read."""
    classes, labels = name_classes(origin, labels, names)

    def read(number: int, channels: int | None, size: int | None) -> Tensor:
        return file_to_bytes(str(files[number]), channels, size)

    return Source(origin, classes, labels, files, read, files)


def _one_of(prefix: str, name: str, names: list[str], split: str | None, splits: list[str]) -> str:
    if name not in names:
        raise DataError(
            f"{prefix}: has {' and '.join(names)}, not {name!r}; expected {prefix}:{'|'.join(names)}[/SPLIT][@ROOT]"
        )
    if split not in (None, *splits):
        raise DataError(f"{prefix}:{name} has the splits {' and '.join(splits)}, not {split!r}")
    return split or splits[0]
