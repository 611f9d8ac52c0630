"""The labels and class names of a data set, found without loading an image."""

from numbers import Integral
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Subset, TensorDataset

from semantic_aug.labels import class_names, label_column

FER2013 = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")  # in the order of the published labels
UNNAMED = {"FER2013": FER2013}  # torchvision's data sets that do not say what their classes are called


def dataset_labels(dataset: Any) -> Tensor:
    """Labels (N,) that a data set serves, found without loading an image.

    Supports ``Subset``, ``ConcatDataset``, ``TensorDataset`` (its last tensor), every data set with ``targets`` or
    ``labels``, such as torchvision's, and Hugging Face data sets with a ``ClassLabel``. A ``target_transform`` is
    applied. Raises TypeError for others, and ValueError if the parts of a ``ConcatDataset`` number their classes
    differently.
    """
    if isinstance(dataset, Subset):
        return dataset_labels(dataset.dataset)[torch.as_tensor(dataset.indices, dtype=torch.int64, device="cpu")]
    if isinstance(dataset, ConcatDataset):
        dataset_classes(dataset)
        return torch.cat([dataset_labels(part) for part in dataset.datasets])
    if isinstance(dataset, TensorDataset):
        return dataset.tensors[-1]
    for name in ("targets", "labels"):
        if hasattr(dataset, name):
            return _serve(dataset, label_column(getattr(dataset, name)))
    for name in _class_labels(dataset):
        return label_column(dataset.with_format(None)[name][:])
    raise TypeError(
        f"{type(dataset).__name__} has neither targets nor labels; pass its labels to ClassBalancedSampler yourself"
    )


def dataset_classes(dataset: Any) -> list[str] | None:
    """The class names of a data set, in the order of the labels that it serves. None if it does not know them.

    They are its ``classes``, ``categories`` or ``class_to_idx``, or the names of its ``ClassLabel`` (Hugging Face).
    Subsets are unwrapped, and ``target_transform`` is applied. Raises ValueError for classes without names, and if the
    parts of a ``ConcatDataset`` number their classes differently.
    """
    if isinstance(dataset, ConcatDataset):
        known = [names for part in dataset.datasets if (names := dataset_classes(part)) is not None]
        for other in known:
            if other != known[0]:
                raise ValueError(
                    f"the parts of the ConcatDataset number their classes differently, {known[0]!s:.100} and "
                    f"{other!s:.100}; renumber them with target_transform="
                )
        return known[0] if known else None
    found = _names(dataset)
    if found is None:
        return dataset_classes(dataset.dataset) if isinstance(dataset, Subset) else None
    names = class_names(found)
    served = _serve(dataset, torch.arange(len(names), device="cpu")).tolist()
    numbers = sorted(set(served))
    if numbers != list(range(len(numbers))):
        raise ValueError(
            f"target_transform makes the labels {numbers!s:.60} of {names!s:.100}, expected 0..{len(numbers) - 1}; "
            f"pass classes= to the augmentation, a name for each label"
        )
    return [" + ".join(name for name, label in zip(names, served, strict=True) if label == n) for n in numbers]


def _names(dataset: Any) -> Any:
    """The class names in whatever form the data set has them, or None."""
    reader = getattr(dataset, "reader", None)  # of timm
    for owner, name in (
        (dataset, "classes"),
        (dataset, "categories"),
        (dataset, "class_to_idx"),
        (reader, "class_to_idx"),
    ):
        if getattr(owner, name, None):
            return getattr(owner, name)
    if found := _class_labels(dataset):
        return next(iter(found.values())).names
    kinds = [kind.__name__ for kind in type(dataset).__mro__ if kind.__module__.startswith("torchvision.datasets.")]
    return next((UNNAMED[kind] for kind in kinds if kind in UNNAMED), None)


def _class_labels(dataset: Any) -> dict[str, Any]:
    """The columns of a Hugging Face data set that are labels. Raises ValueError if it has several."""
    features = getattr(dataset, "features", None)
    if not isinstance(features, dict):
        return {}
    found = {name: feature for name, feature in features.items() if hasattr(feature, "str2int")}
    chosen = {name: feature for name, feature in found.items() if name in ("label", "labels")} or found
    if len(chosen) > 1:
        raise ValueError(
            f"expected one column of labels, got {', '.join(chosen)}; pass classes= and the labels yourself"
        )
    return chosen


def _serve(dataset: Any, labels: Tensor) -> Tensor:
    """The labels that a data set returns instead of its own, int64 (N,), after its ``target_transform``."""
    transform = getattr(dataset, "target_transform", None)
    if transform is None:
        return labels
    own, places = labels.unique(return_inverse=True)
    served = [transform(label) for label in own.tolist()]
    wrong = [label for label in served if not isinstance(label, Integral) or label < 0]
    if wrong:
        raise TypeError(
            f"target_transform must turn a label into a class index, got {wrong[0]!r:.60}; pass labels and classes= "
            f"yourself"
        )
    return torch.tensor([int(label) for label in served], dtype=torch.int64, device="cpu")[places]
