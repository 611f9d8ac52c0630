"""Figures with standard errors: means over images, and values read off curves through such means.

An ``Estimate`` keeps how much each image moves it. Sums and differences of estimates on the same images are therefore
paired: their errors take into account that both saw the same images.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

QUANTILE = 1.96  # of the normal distribution, for intervals of 95 %


@dataclass(frozen=True)
class Estimate:
    """A figure measured on n images, and its standard error.

    Attributes:
        value: the figure.
        influence: float64 (n,), of mean 0: n times what each image adds to the value (Hampel 1974). For a mean these
            are the deviations from it.
    """

    value: float
    influence: Tensor = field(repr=False, compare=False)

    @property
    def error(self) -> float | None:
        """Standard error of ``value``; None where a single image was measured."""
        n = len(self.influence)
        return math.sqrt(float(self.influence.square().sum()) / (n * (n - 1))) if n > 1 else None

    def __add__(self, other: "Estimate") -> "Estimate":
        return Estimate(self.value + other.value, self.influence + other.influence)

    def __sub__(self, other: "Estimate") -> "Estimate":
        return self + other * -1.0

    def __mul__(self, factor: float) -> "Estimate":
        return Estimate(self.value * factor, self.influence * factor)

    def __truediv__(self, divisor: float) -> "Estimate":
        return self * (1 / divisor)


def exact(value: float, images: int) -> Estimate:
    """A number that is known, as an estimate without error on so many images."""
    return Estimate(float(value), torch.zeros(images, dtype=torch.float64))


def mean(values: Tensor) -> Estimate:
    """The mean over images of ``values`` (n,)."""
    values = values.double().cpu()
    value = values.mean()
    return Estimate(float(value), values - value)


def balanced_mean(values: Tensor, labels: Tensor) -> Estimate:
    """The mean over the classes in ``labels`` of the mean over each class's images; both (n,).

    The spread within one image is not known, so a class of one image is taken to spread as all images do.
    """
    values, labels = values.double().cpu(), labels.cpu()
    present = labels.unique()
    means, influence = [], torch.zeros_like(values)
    for label in present:
        members = labels == label
        count = int(members.sum())
        means.append(values[members].mean())
        centre = means[-1] if count > 1 else values.mean()
        influence[members] = (values[members] - centre) * (len(values) / (count * len(present)))
    return Estimate(float(torch.stack(means).mean()), influence)


def read_off(curve: Sequence[tuple[Estimate, Estimate]], at: Estimate) -> Estimate | None:
    """y where x first equals ``at`` on a piecewise linear curve of points (x, y); None where it never does.

    The errors of x, y and ``at`` all count: the result's error is that of the delta method.
    """
    for (x0, y0), (x1, y1) in pairwise(curve):
        if x0.value != x1.value and min(x0.value, x1.value) <= at.value <= max(x0.value, x1.value):
            weight = (at.value - x0.value) / (x1.value - x0.value)
            slope = (y1.value - y0.value) / (x1.value - x0.value)
            x, y = (start * (1 - weight) + end * weight for start, end in ((x0, x1), (y0, y1)))
            return y + (at - x) * slope
    return None


def wilson_low(successes: int, trials: int) -> float:
    """Lower end of the 95 % interval of a share (Wilson 1927), which also holds for few trials and shares near 1."""
    share, spread = successes / trials, QUANTILE**2 / trials
    half = QUANTILE * math.sqrt(share * (1 - share) / trials + spread / (4 * trials))
    return (share + spread / 2 - half) / (1 + spread)
