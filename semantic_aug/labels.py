"""Labels: where to find them in a sample, and how to match the class names of two data sets."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import is_pure_tensor


def default_labels(sample: Any) -> Any:
    """Find the labels of ``(image, labels, ...)`` or of a mapping, as v2.MixUp does. Returns None if there are none.

    In a tuple or list, the second element is used: a plain tensor, an integer, or a mapping that holds labels. In a
    mapping, the value of the key "labels" (in any case) is used, or else that of the first key that contains "label".
    """
    found = sample[1] if isinstance(sample, tuple | list) and len(sample) > 1 else sample
    if isinstance(found, Mapping):
        keys = [key for key in found if isinstance(key, str) and "label" in key.casefold()]
        keys.sort(key=lambda key: key.casefold() != "labels")  # stable: "labels" first, then in order
        found = found[keys[0]] if keys else None
    elif found is sample:  # an image on its own
        return None
    is_label = is_pure_tensor(found) or (isinstance(found, Integral) and not isinstance(found, bool))
    return found if is_label else None


def as_class_indices(labels: Any, shape: tuple[int, ...], num_classes: int) -> Tensor:
    """Convert the labels of a sample to class indices, int64 with the images' leading shape, on the CPU.

    Labels may be an integer, integers of that shape, or soft labels (*shape, num_classes), where the largest value
    determines the class. Raises TypeError for another type, and ValueError for another shape.
    """
    if isinstance(labels, Integral):  # numpy's too
        labels = torch.tensor(int(labels), device="cpu")
    if not isinstance(labels, Tensor):
        raise TypeError(f"labels must be a tensor or an int, got {type(labels).__name__}; pass labels_getter=")
    if labels.is_floating_point():
        if labels.ndim == 0 or labels.shape != (*shape, num_classes):
            raise ValueError(
                f"soft labels must have shape {(*shape, num_classes)}, got {tuple(labels.shape)}; class indices are "
                f"integers (labels.long())"
            )
        labels = labels.argmax(-1)
    elif labels.shape != shape:
        raise ValueError(f"expected one label for each image, of shape {shape}, got labels of {tuple(labels.shape)}")
    return labels.detach().to("cpu", torch.int64)


def indices_by_class(labels: Tensor, classes: int = 0) -> tuple[Tensor, ...]:
    """For each class, the indices of its images in ``labels`` int64 (N,), as ascending int64.

    There are as many classes as the labels need, but at least ``classes``. A single stable sort finds all of them, so
    the cost does not grow with the number of classes.
    """
    counts = torch.bincount(labels, minlength=classes)
    return labels.argsort(stable=True).split(counts.tolist())


def folder_name(name: str) -> str:
    """The name of a class's folder: the class name, with "_" for characters that a folder name cannot have."""
    return re.sub(r"^\.|[/\\\0]", "_", name)


def class_key(name: str) -> str:
    """A key that is equal for all spellings of a class name.

    It ignores case, the characters replaced by ``folder_name``, and whether letters are composed (macOS).
    """
    return unicodedata.normalize("NFC", folder_name(name)).casefold()


def are_names(value: Any) -> bool:
    """Whether ``value`` is a list or tuple of names."""
    return isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)


def same_names(names: Sequence[str], others: Sequence[str]) -> bool:
    """Whether two lists name the same classes, in any order."""
    return sorted(map(class_key, names)) == sorted(map(class_key, others))


def label_table(names: Sequence[str], known: Sequence[str]) -> Tensor:
    """Index in ``known`` of each of ``names``, int64 (len(names),).

    An exact match comes first, and then a match by ``class_key``. Raises ValueError with both lists if a name is
    unknown or matches several known names.
    """
    exact = {name: label for label, name in enumerate(known)}
    alike: dict[str, list[int]] = {}
    for label, name in enumerate(known):
        alike.setdefault(class_key(name), []).append(label)
    found = [[exact[name]] if name in exact else alike.get(class_key(name), []) for name in names]
    for problem, wrong in (("unknown", lambda labels: not labels), ("ambiguous", lambda labels: len(labels) > 1)):
        if bad := [name for name, labels in zip(names, found, strict=True) if wrong(labels)]:
            raise ValueError(
                f"{problem} classes {bad}: got {list(names)}, known are {list(known)}; rename them, or fit a "
                f"checkpoint to them (semantic-aug fit)"
            )
    return torch.tensor([labels[0] for labels in found], dtype=torch.int64, device="cpu")
