"""Find the source of images that a text names."""

import re
from pathlib import Path

from semantic_aug.data.expressions import open_affectnet, open_fer2013, open_rafdb
from semantic_aug.data.folder import class_folders, open_folder
from semantic_aug.data.huggingface import is_saved, open_saved
from semantic_aug.data.source import DataError, Source
from semantic_aug.data.torchvision import open_torchvision

FOLDER = "folder:"
PREFIXED = re.compile(r"(\w[\w-]+):([^/@]*)(?:/([^@]*))?(?:@(.+))?")  # PREFIX:NAME[/SPLIT][@ROOT]
OPENERS = {"torchvision": open_torchvision, "rafdb": open_rafdb, "affectnet": open_affectnet}
KNOWN = (
    "an image folder, a folder written by datasets' save_to_disk, torchvision:NAME[/SPLIT][@ROOT], "
    "rafdb:basic[/SPLIT][@ROOT], affectnet:7|8[/SPLIT][@ROOT] or fer2013.csv[/SPLIT]"
)
SPLITS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing"}


def find_source(spec: str | Path) -> Source:
    """The source that ``spec`` names, see ``load_data``. An existing folder or file takes precedence over a prefix.

    Raises DataError.
    """
    path, text = Path(spec), str(spec)
    if path.is_dir():
        return open_saved(path) if is_saved(path) else open_folder(refuse_splits(path))
    if path.is_file():
        return _open_file(path, None)
    if path.parent.is_file():
        return _open_file(path.parent, path.name)
    if text.startswith(FOLDER):
        return open_folder(Path(text.removeprefix(FOLDER)).expanduser())
    matched = PREFIXED.fullmatch(text)
    return _open_prefixed(text, *matched.groups()) if matched else open_folder(path)


def refuse_splits(folder: Path) -> Path:
    """Return ``folder``. Raises DataError if its sub-folders are the splits of a data set and not classes."""
    classes = class_folders(folder)
    splits = [name for name in classes if name.casefold() in SPLITS]
    if splits and (len(splits) > 1 or splits == classes):
        first = min(splits, key=lambda name: not name.casefold().startswith("train"))
        raise DataError(
            f"{folder}: its sub-folders are called {' and '.join(splits)}, like splits and not like classes; give one "
            f"of them, such as {folder / first}, or {FOLDER}{folder} if these are the classes"
        )
    return folder


def _open_file(path: Path, split: str | None) -> Source:
    if path.suffix.lower() != ".csv":
        raise DataError(f"{path}: is a file; expected {KNOWN}")
    return open_fer2013(path, split)


def _open_prefixed(spec: str, prefix: str, name: str, split: str | None, root: str | None) -> Source:
    if prefix not in OPENERS:
        raise DataError(f"{spec}: {prefix!r} is no known kind of data; expected {KNOWN}")
    folder = Path(root or "data").expanduser()
    if folder.is_file():
        raise DataError(f"{folder}: is a file; expected the folder that has the data set {prefix}:{name} in it")
    return OPENERS[prefix](name, split or None, folder)
