"""torchvision's own data sets, found by the names of their Python classes."""

import inspect
from numbers import Integral
from pathlib import Path
from typing import Any

import PIL.Image
from torch import Tensor

from semantic_aug._datasets import dataset_classes
from semantic_aug.data.source import DataError, Source, name_classes, one_line
from semantic_aug.images import pil_to_bytes


def open_torchvision(name: str, split: str | None, root: Path) -> Source:
    """A data set of torchvision. If it is not in ``root``, it is downloaded there if torchvision can do so."""
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

    classes, labels = name_classes(origin, _find_labels(dataset), dataset_classes(dataset))

    def read(number: int, channels: int | None, size: int | None) -> Tensor:
        picture = dataset[number][0]
        if not isinstance(picture, PIL.Image.Image):
            raise DataError(f"{origin}: gives a {type(picture).__name__}, expected images")
        return pil_to_bytes(picture, channels, size)

    return Source(origin, classes, labels, [Path(f"{origin}/{number}") for number in range(len(labels))], read, [])


def _parameters(kind: type) -> dict[str, inspect.Parameter]:
    """Parameters of a constructor, and of its base class's constructor if it passes ``**kwargs`` on."""
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
    except Exception as error:  # torchvision raises RuntimeError or OSError for missing files, and anything otherwise
        if not (downloads and isinstance(error, RuntimeError | OSError)):
            raise DataError(f"{origin} cannot be loaded from {arguments['root']}: {one_line(error)}") from error
    try:
        return kind(**arguments, download=True)
    except Exception as error:
        raise DataError(
            f"{origin} is not in {arguments['root']}, and its download failed: {one_line(error)}"
        ) from error


def _find_labels(dataset: Any) -> list[Any]:
    for name in ("targets", "labels", "_labels"):
        known: Any = getattr(dataset, name, None)
        known = known.tolist() if hasattr(known, "tolist") else known
        if isinstance(known, list) and known and isinstance(known[0], Integral):
            return known
    labels = []
    for number in range(len(dataset)):  # this also decodes the images, but works for every data set
        labels.append(dataset[number][1])
        if not isinstance(labels[-1], Integral):
            break
    return labels
