"""Hugging Face data sets that were written to disk."""

from pathlib import Path
from typing import Any

from torch import Tensor

from semantic_aug._files import read_json
from semantic_aug.data.source import DataError, Source, name_classes, one_line
from semantic_aug.images import content_to_bytes, file_to_bytes


def is_saved(folder: Path) -> bool:
    """Whether ``save_to_disk`` wrote this folder."""
    return any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))


def open_saved(folder: Path) -> Source:
    """A folder written by ``Dataset.save_to_disk``, or the split "train" of one by ``DatasetDict.save_to_disk``."""
    try:
        import datasets
    except ImportError as error:
        raise DataError(f"{folder}: to read this data set, install the package datasets") from error
    try:
        if (folder / "dataset_dict.json").is_file():
            splits = read_json(folder / "dataset_dict.json")["splits"]
            if "train" not in splits:
                raise DataError(f"{folder}: has the splits {', '.join(splits)}, no train; name one as {folder}/SPLIT")
            folder = folder / "train"
        rows = datasets.load_from_disk(str(folder)).with_format(None)
        rows.data.validate(full=True)  # a wrong offset in a damaged file would crash the process
        image = _column_of(rows, datasets.Image, folder)
        label = _column_of(rows, datasets.ClassLabel, folder)
        classes, labels = name_classes(str(folder), rows[label][:], rows.features[label].names)
        stored = rows.select_columns([image]).cast_column(image, datasets.Image(decode=False))
    except DataError:
        raise
    except Exception as error:  # a damaged file can make json, pyarrow and datasets raise anything
        raise DataError(f"{folder}: cannot be read as a Hugging Face data set ({one_line(error)})") from error

    def read(number: int, channels: int | None, size: int | None) -> Tensor:
        entry = stored[number][image]
        if not entry or (entry["bytes"] is None and not entry["path"]):
            raise ValueError("the row has no image")
        if entry["bytes"] is None:
            return file_to_bytes(entry["path"], channels, size)
        return content_to_bytes(entry["bytes"], channels, size)

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
