"""Settings that are one number or one number per class: checking them, and looking them up by label."""

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from semantic_aug.labels import label_table
from semantic_aug.model.statistics import POOLED

PerClass = float | Sequence[float] | Mapping[str, float]


def check_per_class(name: str, value: Any, maximum: float) -> PerClass | None:
    """Check that ``value`` is finite and in [0, maximum]. Numpy's and torch's numbers and arrays become Python's."""
    if value is None:
        return None
    if hasattr(value, "tolist"):
        value = value.tolist()
    several = value.values() if isinstance(value, Mapping) else value
    values = [value] if isinstance(value, Real) else list(several)
    for number in values:
        valid = isinstance(number, Real) and not isinstance(number, bool) and math.isfinite(number)
        if not (valid and 0 <= float(number) <= maximum):
            expected = f"in [0, {maximum:g}]" if math.isfinite(maximum) else "finite and >= 0"
            raise ValueError(f"{name} must be {expected}, got {number!r}")
    if not values:
        raise ValueError(f"{name} must be a number or one number per class, got {value!r}")
    return value


def per_class_table(name: str, value: PerClass, classes: Sequence[str] | None, known: Sequence[str]) -> Tensor:
    """One value as a tensor (), or values per class as (K,), in the order of the artifact's classes, ``known``.

    A sequence is in the order of the data set's ``classes`` (None: ``known``). Raises ValueError if a needed class has
    no value.
    """
    if isinstance(value, int | float):
        return torch.tensor(float(value), dtype=torch.float32, device="cpu")
    needed = classes or known
    names = list(value) if isinstance(value, Mapping) else needed
    values = list(value.values() if isinstance(value, Mapping) else value)
    table = torch.full((len(known),), math.nan, dtype=torch.float32, device="cpu")
    if len(values) == len(names):
        table[label_table(names, known)] = torch.tensor(values, dtype=torch.float32, device="cpu")
    if table[label_table(needed, known)].isnan().any():
        raise ValueError(f"{name} must have a value for each of {list(needed)}, got {value!r}")
    return table


def look_up(name: str, table: Tensor, labels: Tensor) -> Tensor:
    """Look up the setting of each of the artifact's ``labels`` (N,).

    The result is (N,) if the setting differs by class, and () if it does not.
    """
    if not table.ndim:
        return table
    if (labels == POOLED).any():
        raise ValueError(f"{name} differs by class, but this sample has no label; call transform(image, label)")
    return table[labels]
