"""Labels: where to find them in a sample, and how to match the class names of two data sets."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from semantic_aug._torchvision import is_pure_tensor, tv_tensors

KEYS = ("labels", "label", "targets", "target", "class", "cls")  # where a mapping has its labels


def default_labels(sample: Any) -> Any:
    """Find the labels of ``(image, labels, ...)`` or of a mapping, as v2.MixUp does. Returns None if there are none.

    In a tuple or list, they are the second element, or in it if that is a mapping. In a mapping, they are the value of
    the first of the keys "labels", "label", "targets", "target", "class" and "cls" (in any case), or else of the key
    that contains "label". Raises ValueError if several keys contain it.
    """
    found = sample[1] if isinstance(sample, tuple | list) and len(sample) > 1 else sample
    if isinstance(found, Mapping):
        found = _in_mapping(found)
    elif found is sample:  # an image on its own
        return None
    first = found[0] if isinstance(found, tuple | list) and found else found
    image = isinstance(first, (PIL.Image.Image, *tv_tensors("TVTensor"))) or (is_pure_tensor(first) and first.ndim >= 3)
    return None if image or isinstance(first, Mapping) else found


def _in_mapping(mapping: Mapping[Any, Any]) -> Any:
    keys = {key.casefold(): key for key in mapping if isinstance(key, str)}
    for name in KEYS:
        if name in keys:
            return mapping[keys[name]]
    containing = [key for name, key in keys.items() if "label" in name]
    if len(containing) > 1:
        raise ValueError(f"several keys could hold the labels: {', '.join(containing)}; pass labels_getter=")
    return mapping[containing[0]] if containing else None


def as_class_indices(labels: Any, shape: tuple[int, ...], classes: Sequence[str]) -> Tensor:
    """Convert the labels of a sample to class indices, int64 with the images' leading shape, on the CPU.

    Labels may be numbers, names in ``classes``, lists, arrays or tensors of these. They are class indices of that
    shape, or soft labels (*shape, K) with rows that sum to 1, where the largest value determines the class. Raises
    TypeError for another type, and ValueError for another shape, an unknown name, or rows that do not sum to 1.
    """
    # Labels on a GPU are waited for, because the draw is made on the CPU. SemanticLoader draws before it moves them.
    table = labels.detach().cpu() if isinstance(labels, Tensor) else _as_tensor(labels, classes)
    if table.dtype == torch.bool or table.is_complex():
        raise _no_labels(labels)
    if shape == () and table.numel() == 1:
        table = table.reshape(())
    if table.shape == (*shape, len(classes)):
        sums = table.double().sum(-1)
        if ((sums - 1).abs() > 1e-2).any() or (table < 0).any():
            raise ValueError(
                f"soft labels must be rows that sum to 1, got sums from {float(sums.min()):.3g} to "
                f"{float(sums.max()):.3g}; an image of several classes has no covariance of its own"
            )
        return table.argmax(-1)
    if table.is_floating_point() and (table.shape != shape or (table != table.round()).any()):
        raise ValueError(
            f"soft labels must have shape {(*shape, len(classes))}, got {tuple(table.shape)}; class indices are "
            f"integers (labels.long())"
        )
    if table.shape != shape:
        raise ValueError(f"expected one label for each image, of shape {shape}, got labels of {tuple(table.shape)}")
    return table.to(torch.int64)


def are_named(labels: Any) -> bool:
    """Whether labels are names and not numbers."""
    return not isinstance(labels, Tensor) and np.asarray(labels).dtype.kind in "UO"


def _as_tensor(labels: Any, classes: Sequence[str]) -> Tensor:
    """Numbers, or names in ``classes``, of any shape as a tensor on the CPU."""
    try:
        array = np.asarray(labels)
    except ValueError:  # lists of different lengths
        array = np.empty(0, dtype=object)
    if array.size and array.dtype.kind in "UO" and are_names(array.flatten().tolist()):
        names, places = np.unique(array.astype(str), return_inverse=True)
        return label_table(names.tolist(), classes)[torch.from_numpy(places.reshape(array.shape))]
    if array.dtype.kind not in "iuf":
        raise _no_labels(labels)
    return torch.from_numpy(array.astype(np.float64 if array.dtype.kind == "f" else np.int64))


def _no_labels(labels: Any) -> TypeError:
    return TypeError(
        f"labels must be class indices or names, got {type(labels).__name__} {labels!s:.60}; pass labels_getter= to "
        f"find them, or labels_getter=None if there are none"
    )


def label_column(labels: Any) -> Tensor:
    """The labels of a data set, (N,), from a tensor, an array, a list or a pandas Series.

    Names are numbered in sorted order, and whole numbers become int64.
    """
    if isinstance(labels, Tensor):
        return labels
    array = np.asarray(labels)
    if array.dtype.kind in "UO" and are_names(array.tolist()):
        return torch.from_numpy(np.unique(array.astype(str), return_inverse=True)[1])
    if array.dtype.kind == "f" and (array == array.round()).all():
        array = array.astype(np.int64)
    return torch.from_numpy(np.array(array, dtype=None if array.dtype.kind in "bf" else np.int64))


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


def class_names(value: Any) -> list[str]:
    """Class names in label order as a list.

    ``value`` is a list, a tuple, an array, a pandas Series or Index, or a mapping from names to 0..K-1 such as
    ``class_to_idx``. Synonyms in a tuple are joined. Raises ValueError for anything else.
    """
    names = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, Mapping) and sorted(value.values()) == list(range(len(value))):
        names = sorted(value, key=value.__getitem__)
    if isinstance(names, list | tuple):
        names = [", ".join(each) if isinstance(each, tuple) and are_names(each) else each for each in names]
    if not are_names(names):
        raise ValueError(f"classes must be the names of your classes in label order, got {value!r:.80}")
    return list(names)


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
