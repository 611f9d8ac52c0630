"""Data sets of facial expressions in their published layouts: RAF-DB, AffectNet and FER2013."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import PIL.Image
from torch import Tensor

from semantic_aug._datasets import FER2013
from semantic_aug._files import FileError, below, read_bytes
from semantic_aug.data.folder import is_image
from semantic_aug.data.source import DataError, Source, name_classes, one_line
from semantic_aug.images import file_to_bytes, pil_to_bytes

# In the order of the published labels.
RAFDB = ("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral")
AFFECTNET = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt")

MAX_ANNOTATION = 4096  # bytes
MAX_LINE = 1 << 20  # characters
FER2013_SIDE = 48  # pixels
FER2013_COLUMNS = ("emotion", "pixels", "Usage")
FER2013_SPLITS = {"train": "Training", "validation": "PublicTest", "test": "PrivateTest"}  # in the column Usage


def open_rafdb(name: str, split: str | None, root: Path) -> Source:
    """RAF-DB's basic emotions, the aligned faces. ``root`` has ``EmoLabel/`` and ``Image/``, directly or in ``basic/``.

    ``Image/original``, with whole photographs, is not read.
    """
    split = _one_of("rafdb", name, ["basic"], split, ["train", "test"])
    root = root / "basic" if (root / "basic").is_dir() else root
    listing = root / "EmoLabel" / "list_patition_label.txt"  # sic
    if not listing.is_file():
        raise DataError(f"{listing}: no such file; the ROOT of rafdb:basic has EmoLabel/ and Image/ in it")
    aligned = root / "Image" / "aligned"
    if not aligned.is_dir():
        raise DataError(
            f"{aligned}: no such folder; get the aligned faces of RAF-DB, or crop the faces of Image/original yourself "
            "into an image folder"
        )
    stems: list[str] = []
    labels: list[int] = []
    try:
        text = read_bytes(listing).decode("utf-8-sig", errors="surrogateescape")
    except FileError as error:
        raise DataError(str(error)) from error
    for number, line in enumerate(text.splitlines(), start=1):
        matched = re.fullmatch(r"(\w+)\.jpg\s+([1-7])\s*", line)
        if line.strip() and not matched:
            raise DataError(f"{listing}, line {number}: expected one like 'train_00001.jpg 5', got {line!r:.60}")
        if matched and matched[1].startswith(split):
            stems.append(matched[1])
            labels.append(int(matched[2]) - 1)
    files = [aligned / f"{stem}_aligned.jpg" for stem in stems]
    return _listed(f"rafdb:basic/{split}@{root}", files, labels, RAFDB)


def open_affectnet(name: str, split: str | None, root: Path) -> Source:
    """AffectNet, the first 7 expressions or all 8, in either published layout.

    One layout is ``train_set/images/*.jpg`` with ``train_set/annotations/*_exp.npy`` (and the same in ``val_set``). The
    other is ``training.csv`` (``validation.csv``) in ``root`` or its ``Manually_Annotated_file_lists``. It lists images
    in ``root`` or its ``Manually_Annotated_Images``. Other labels (no expression, uncertain, no face) are skipped.
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
            content = io.BytesIO(read_bytes(annotation, MAX_ANNOTATION))
            labelled.append((path, int(np.load(content, allow_pickle=False).item())))  # published as text
        except Exception as error:  # a damaged file can make numpy raise anything
            raise DataError(f"{annotation}: cannot be read as the label of {path.name} ({one_line(error)})") from error
    return labelled


def _affectnet_table(table: Path, images: Path) -> list[tuple[Path, int]]:
    rows = list(_read_table(table))
    path, expression = 0, 6  # the published columns, used if there is no header
    if rows and "expression" in rows[0][1]:
        _, header = rows.pop(0)
        if "subDirectory_filePath" not in header:
            raise DataError(f"{table}, line 1: expected a column subDirectory_filePath, got {', '.join(header)!r:.80}")
        path, expression = header.index("subDirectory_filePath"), header.index("expression")
    labelled = []
    for line, row in rows:
        if len(row) <= max(path, expression) or not re.fullmatch(r"\d+", row[expression].strip()):
            raise DataError(f"{table}, line {line}: expected the path of an image and a number as its expression")
        try:
            labelled.append((below(images, row[path]), int(row[expression])))
        except ValueError as error:
            raise DataError(f"{table}, line {line}: {one_line(error)}") from error
    return labelled


def open_fer2013(table: Path, split: str | None) -> Source:
    """A split of FER2013's single file, ``fer2013.csv``, whose columns are ``emotion,pixels,Usage``.

    "train", "validation" and "test" stand for the Usage "Training", "PublicTest" and "PrivateTest". None means "train".
    An image is a row of 48 x 48 grey values from 0 to 255. A damaged row is treated like a damaged file.
    """
    split = split or "train"
    if split not in FER2013_SPLITS:
        raise DataError(f"{table}: has the splits train, validation and test, not {split!r}")
    rows = _read_table(table)
    _, header = next(rows, (1, []))
    names = [name.strip() for name in header]
    if not set(FER2013_COLUMNS) <= set(names):
        raise DataError(
            f"{table}, line 1: expected the columns emotion, pixels and Usage, got {', '.join(names)!r:.80}"
        )
    emotion, pixels, usage = map(names.index, FER2013_COLUMNS)
    lines, labels, texts = [], [], []
    for line, row in rows:
        cells = [cell.strip() for cell in row]
        if len(cells) <= max(emotion, pixels, usage) or cells[usage] not in FER2013_SPLITS.values():
            raise DataError(f"{table}, line {line}: expected a Usage of Training, PublicTest or PrivateTest")
        if not re.fullmatch("[0-6]", cells[emotion]):
            raise DataError(f"{table}, line {line}: expected an emotion from 0 to 6, got {cells[emotion]!r:.20}")
        if cells[usage] == FER2013_SPLITS[split]:
            lines.append(line)
            labels.append(int(cells[emotion]))
            texts.append(cells[pixels])
    classes, labels = name_classes(f"{table}/{split}", labels, FER2013)

    def read(number: int, channels: int | None, size: int | None) -> Tensor:
        values = bytes(map(int, texts[number].split()))
        if len(values) != FER2013_SIDE**2:
            raise ValueError(f"line {lines[number]} has {len(values)} pixels, expected 48 x 48")
        return pil_to_bytes(PIL.Image.frombytes("L", (FER2013_SIDE, FER2013_SIDE), values), channels, size)

    files = [table / str(line) for line in lines]
    # The second path is not a file. It only makes the cache key differ between splits.
    return Source(f"{table}/{split}", classes, labels, files, read, [table, table / split])


def _read_table(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The non-empty rows of a CSV file and the line on which each ends. A byte order mark is ignored."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(iter(lambda: file.readline(MAX_LINE), ""))  # a row that is longer has too long a cell
        try:
            for row in reader:
                if row:
                    yield reader.line_num, row
        except csv.Error as error:
            raise DataError(f"{path}, line {reader.line_num}: cannot be read as CSV ({one_line(error)})") from error


def _listed(origin: str, files: list[Path], labels: list[int], names: Sequence[str]) -> Source:
    """Files named in a list. A missing file counts as an image that cannot be read."""
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
