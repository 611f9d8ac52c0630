"""Labels: where a sample keeps them, and what two data sets call the same class."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import is_pure_tensor


def default_labels(sample: Any) -> Any:
    """The labels of ``(image, labels, ...)`` or of a mapping, as v2.MixUp finds them; None where there are none.

    In a tuple or list it is the second element: a plain tensor, an integer, or a mapping that holds labels. In a
    mapping it is the value of the key "labels" (in any case), else of the first key that contains "label".
    """
    found = sample[1] if isinstance(sample, tuple | list) and len(sample) > 1 else sample
    if isinstance(found, Mapping):
        keys = [key for key in found if isinstance(key, str) and "label" in key.casefold()]
        keys.sort(key=lambda key: key.casefold() != "labels")  # stable: "labels" first, then in order
        found = found[keys[0]] if keys else None
    elif found is sample:  # a lone image
        return None
    is_label = is_pure_tensor(found) or (isinstance(found, Integral) and not isinstance(found, bool))
    return found if is_label else None


def as_class_indices(labels: Any, shape: tuple[int, ...], num_classes: int) -> Tensor:
    """Labels as a sample holds them => class indices int64 of the images' leading shape, on the CPU.

    An integer, integers of that shape, or soft labels (*shape, num_classes), of which the largest counts. Raises
    TypeError for another type, and ValueError for another shape.
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
    """Which of the images with ``labels`` int64 (N,) are of class 0, of class 1, and so on: int64 each, ascending.

    There are as many classes as the labels need, at least ``classes``. One stable sort finds them all, so the cost does
    not grow with their number.
    """
    counts = torch.bincount(labels, minlength=classes)
    return labels.argsort(stable=True).split(counts.tolist())


def folder_name(name: str) -> str:
    """What the folder of a class is called: its name, "_" in place of what a folder's name cannot have."""
    return re.sub(r"^\.|[/\\\0]", "_", name)


def class_key(name: str) -> str:
    """The same text for all names of a class: in any case, as its folder is called, letters composed or not (macOS)."""
    return unicodedata.normalize("NFC", folder_name(name)).casefold()


def are_names(value: Any) -> bool:
    """Whether ``value`` is a list or tuple of names."""
    return isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)


def same_names(names: Sequence[str], others: Sequence[str]) -> bool:
    """Whether two lists name the same classes, in whatever order."""
    return sorted(map(class_key, names)) == sorted(map(class_key, others))


def label_table(names: Sequence[str], known: Sequence[str]) -> Tensor:
    """Index in ``known`` of each of ``names``, compared as they are, else by ``class_key``: int64 (len(names),).

    Raises ValueError with both lists where a name is not known, or could be several that are.
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
