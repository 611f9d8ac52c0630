"""Where labelled images come from: image folders, Hugging Face data sets on disk, torchvision, RAF-DB, AffectNet."""

import csv
import inspect
import io
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import PIL.Image
from torch import Tensor

from semantic_aug.images import file_to_bytes, pil_to_bytes

EXTENSIONS = {
    ".png", ".jpg", ".jpeg", ".jfif", ".jp2", ".webp", ".avif", ".bmp", ".gif", ".tif", ".tiff", ".tga", ".pbm", ".pgm",
    ".ppm", ".pnm",
}  # fmt: skip
PREFIXED = re.compile(r"(\w[\w-]+):([^/@]*)(?:/([^@]*))?(?:@(.+))?")  # PREFIX:NAME[/SPLIT][@ROOT]
KNOWN = (
    "an image folder, a folder written by datasets' save_to_disk, torchvision:NAME[/SPLIT][@ROOT], "
    "rafdb:basic[/SPLIT][@ROOT] or affectnet:7|8[/SPLIT][@ROOT]"
)
# In the order of the published labels.
FER2013 = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
RAFDB = ("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral")
AFFECTNET = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt")


class DataError(ValueError):
    """The data cannot be used; the message names the folder or file."""


@dataclass(frozen=True)
class Source:
    """Labelled images of which none is decoded yet.

    Args:
        origin: what messages call it.
        classes: names in label order; each has an image.
        labels: class index of every image.
        files: where every image is; ``origin/number`` for one that is no file of its own.
        read: (number, channels, size) => uint8 (channels, size, size), from several threads at once; None: the image's
            own.
        stamped: files whose sizes and times tell whether an image has changed; empty where nothing does.
    """

    origin: str
    classes: list[str]
    labels: list[int]
    files: list[Path]
    read: Callable[[int, int | None, int | None], Tensor]
    stamped: list[Path]


def find_source(spec: str | Path) -> Source:
    """What ``spec`` names, see ``load_data``; a folder that exists comes before a prefix. Raises DataError."""
    folder = Path(spec)
    matched = PREFIXED.fullmatch(str(spec))
    if matched and not folder.is_dir():
        prefix, name, split, root = matched.groups()
        readers = {"torchvision": torchvision_data, "rafdb": rafdb, "affectnet": affectnet}
        if prefix not in readers:
            raise DataError(f"{spec}: {prefix!r} is no known kind of data; expected {KNOWN}")
        return readers[prefix](name, split or None, Path(root or "data").expanduser())
    if any((folder / name).is_file() for name in ("dataset_dict.json", "state.json")):
        return hugging_face(folder)
    return image_folder(folder)


# --- Image folders ----------------------------------------------------------------------------------------------


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
        found = _images_below(root / name)
        if not found:
            raise DataError(f"{root / name}: no images in this class folder; add some or remove the folder")
        files += found
        labels += [label] * len(found)
    return classes, files, labels


def image_folder(folder: str | Path) -> Source:
    """``FOLDER/<class>/**/*.png, jpg, webp, ...``. A file that vanishes before it is read is a DataError."""
    classes, files, labels = scan_folder(folder)

    def read(number: int, channels: int | None, size: int | None) -> Tensor:
        try:
            return file_to_bytes(str(files[number]), channels, size)
        except FileNotFoundError as error:
            if os.path.lexists(files[number]):  # a link to nowhere
                raise
            raise DataError(
                f"{files[number]}: gone since {folder} was listed; nothing may change it meanwhile"
            ) from error

    return Source(str(folder), classes, labels, files, read, files)


def _images_below(folder: Path) -> list[Path]:
    """In the order of torchvision's ``ImageFolder``, behind links too; no hidden ones (macOS keeps ``._name.jpg``)."""
    found: dict[str, list[Path]] = {}
    seen: set[str] = set()
    for directory, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(directory)
        folders[:] = [] if real in seen else [name for name in folders if not name.startswith(".")]
        if real not in seen:  # a link may lead to where one has been
            found[directory] = [Path(directory, name) for name in sorted(names) if _is_image(name)]
        seen.add(real)
    return [path for directory in sorted(found) for path in found[directory]]


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in EXTENSIONS and not name.startswith(".")


# --- Hugging Face -----------------------------------------------------------------------------------------------


def hugging_face(folder: Path) -> Source:
    """A folder written by ``Dataset.save_to_disk``, or the split "train" of one by ``DatasetDict.save_to_disk``."""
    try:
        import datasets  # type: ignore[import-untyped]
    except ImportError as error:
        raise DataError(f"{folder}: to read this data set, install the package datasets") from error
    try:
        if (folder / "dataset_dict.json").is_file():
            splits = json.loads((folder / "dataset_dict.json").read_text(encoding="utf-8"))["splits"]
            if "train" not in splits:
                raise DataError(f"{folder}: has the splits {', '.join(splits)}, no train; name one as {folder}/SPLIT")
            folder = folder / "train"
        rows = datasets.load_from_disk(str(folder)).with_format(None)
    except DataError:
        raise
    except Exception as error:  # whatever a damaged file makes json, pyarrow and datasets raise
        raise DataError(f"{folder}: cannot be read as a Hugging Face data set ({_line(error)})") from error
    image = _column_of(rows, datasets.Image, folder)
    label = _column_of(rows, datasets.ClassLabel, folder)
    classes, labels = _named(str(folder), rows[label][:], rows.features[label].names)
    stored = rows.select_columns([image]).cast_column(image, datasets.Image(decode=False))

    def read(number: int, channels: int | None, size: int | None) -> Tensor:
        entry = stored[number][image]
        if not entry or (entry["bytes"] is None and not entry["path"]):
            raise ValueError("the row has no image")
        with PIL.Image.open(entry["path"] if entry["bytes"] is None else io.BytesIO(entry["bytes"])) as picture:
            return pil_to_bytes(picture, channels, size)

    files = [folder / str(number) for number in range(len(labels))]
    return Source(str(folder), classes, labels, files, read, sorted([*folder.glob("*.arrow"), *folder.glob("*.json")]))


def _column_of(rows: Any, kind: type, folder: Path) -> str:
    """The one column with this type of feature."""
    found = [name for name, feature in rows.features.items() if isinstance(feature, kind)]
    if len(found) != 1:
        has = ", ".join(f"{name} ({type(feature).__name__})" for name, feature in rows.features.items())
        raise DataError(
            f"{folder}: expected one column of type {kind.__name__}, found {len(found)} among {has}; "
            f"cast_column and select_columns make it one"
        )
    return found[0]


# --- torchvision ------------------------------------------------------------------------------------------------


def torchvision_data(name: str, split: str | None, root: Path) -> Source:
    """A data set of torchvision; downloaded to ``root`` where it is not there and torchvision can."""
    from torchvision import datasets

    known = {
        key: value
        for key, value in vars(datasets).items()
        if inspect.isclass(value) and issubclass(value, datasets.VisionDataset) and "root" in _parameters(value)
    }
    del known["VisionDataset"]
    if name not in known:
        raise DataError(f"torchvision has no data set {name!r}; it has {', '.join(sorted(known))}")
    parameters = _parameters(known[name])
    arguments: dict[str, Any] = {"root": str(root)}
    if "split" in parameters:
        default = parameters["split"].default
        arguments["split"] = split = split or (default if isinstance(default, str) else "train")
    elif "train" in parameters:
        split = split or "train"
        if split not in ("train", "test"):
            raise DataError(f"torchvision:{name} has the splits train and test, not {split!r}")
        arguments["train"] = split == "train"
    elif split:
        raise DataError(f"torchvision:{name} has no splits; got {split!r}")
    origin = f"torchvision:{name}" + (f"/{split}" if split else "")
    dataset = _construct(known[name], arguments, "download" in parameters, origin)

    names = getattr(dataset, "classes", None) or getattr(dataset, "categories", None)
    names = names or (FER2013 if name == "FER2013" else None)
    if names is not None:  # of ImageNet a tuple of synonyms each
        names = [each if isinstance(each, str) else ", ".join(each) for each in names]
    classes, labels = _named(origin, _torchvision_labels(dataset), names)

    def read(number: int, channels: int | None, size: int | None) -> Tensor:
        picture = dataset[number][0]
        if not isinstance(picture, PIL.Image.Image):
            raise DataError(f"{origin}: gives a {type(picture).__name__}, expected images")
        return pil_to_bytes(picture, channels, size)

    return Source(origin, classes, labels, [Path(f"{origin}/{number}") for number in range(len(labels))], read, [])


def _parameters(kind: type) -> dict[str, inspect.Parameter]:
    """Parameters of a constructor, and of its base class's where it hands ``**kwargs`` on."""
    found: dict[str, inspect.Parameter] = {}
    for base in kind.__mro__:
        if "__init__" in vars(base):
            parameters = inspect.signature(base.__init__).parameters  # type: ignore[misc]
            found = {**parameters, **found}
            if all(each.kind != inspect.Parameter.VAR_KEYWORD for each in parameters.values()):
                break
    return found


def _construct(kind: type, arguments: dict[str, Any], downloads: bool, origin: str) -> Any:
    try:
        return kind(**arguments, **({"download": False} if downloads else {}))
    except Exception as error:  # torchvision raises RuntimeError or OSError for missing files, anything for others
        if not (downloads and isinstance(error, RuntimeError | OSError)):
            raise DataError(f"{origin} cannot be loaded from {arguments['root']}: {_line(error)}") from error
    try:
        return kind(**arguments, download=True)
    except Exception as error:
        raise DataError(f"{origin} is not in {arguments['root']}, and its download failed: {_line(error)}") from error


def _torchvision_labels(dataset: Any) -> list[Any]:
    for name in ("targets", "labels", "_labels"):
        known: Any = getattr(dataset, name, None)
        known = known.tolist() if hasattr(known, "tolist") else known
        if isinstance(known, list) and known and isinstance(known[0], Integral):
            return known
    labels = []
    for number in range(len(dataset)):  # decodes the image as well, but is right for all
        labels.append(dataset[number][1])
        if not isinstance(labels[-1], Integral):
            break
    return labels


# --- RAF-DB and AffectNet ---------------------------------------------------------------------------------------


def rafdb(name: str, split: str | None, root: Path) -> Source:
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


def affectnet(name: str, split: str | None, root: Path) -> Source:
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
    for path in sorted(path for path in (folder / "images").iterdir() if _is_image(path.name)):
        annotation = folder / "annotations" / f"{path.stem}_exp.npy"
        try:
            labelled.append((path, int(np.load(annotation, allow_pickle=False).item())))  # published as text
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{annotation}: cannot be read as the label of {path.name} ({_line(error)})") from error
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
            f"{table}: expected subDirectory_filePath and expression in every row ({_line(error)})"
        ) from error


def _listed(origin: str, files: list[Path], labels: list[int], names: Sequence[str]) -> Source:
    """Files that a list names: one that is not there is an image that cannot be read."""
    classes, labels = _named(origin, labels, names)

    def read(number: int, channels: int | None, size: int | None) -> Tensor:
        return file_to_bytes(str(files[number]), channels, size)

    return Source(origin, classes, labels, files, read, files)


def _one_of(prefix: str, name: str, names: list[str], split: str | None, splits: list[str]) -> str:
    if name not in names:
        raise DataError(f"{prefix}: has {' and '.join(names)}, not {name!r}; expected {KNOWN}")
    if split not in (None, *splits):
        raise DataError(f"{prefix}:{name} has the splits {' and '.join(splits)}, not {split!r}")
    return split or splits[0]


# --- Shared by the sources --------------------------------------------------------------------------------------


def _named(origin: str, labels: Sequence[Any], names: Sequence[str] | None) -> tuple[list[str], list[int]]:
    """Names (None: numbers) of the classes that have an image, and the labels counted among those.

    Names that differ at most in case get their label added: classes are compared without case.
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


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
