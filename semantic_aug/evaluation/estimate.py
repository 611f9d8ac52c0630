"""Values with standard errors: means over images, and values read off curves through such means.

An ``Estimate`` keeps the influence of each image. Sums and differences of estimates on the same images are therefore
paired, and their errors account for that.
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
    """A value measured on n images, and its standard error.

    Attributes:
        value: the measured value.
        influence: float64 (n,), with mean 0: n times the contribution of each image to the value (Hampel 1974). For a
            mean, these are the deviations from it.
    """

    value: float
    influence: Tensor = field(repr=False, compare=False)

    @property
    def error(self) -> float | None:
        """Standard error of ``value``, or None if only one image was measured."""
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
    values = values.cpu().double()
    value = values.mean()
    return Estimate(float(value), values - value)


def balanced_mean(values: Tensor, labels: Tensor) -> Estimate:
    """The mean over the classes in ``labels`` of the mean over each class's images; both (n,).

    A single image has no spread, so a class with one image is assumed to spread as all images do.
    """
    values, labels = values.cpu().double(), labels.cpu()
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
    """The y at which x first equals ``at`` on a piecewise linear curve of points (x, y), or None if it never does.

    The error of the result comes from the errors of x, y and ``at`` by the delta method.
    """
    for (x0, y0), (x1, y1) in pairwise(curve):
        if x0.value != x1.value and min(x0.value, x1.value) <= at.value <= max(x0.value, x1.value):
            weight = (at.value - x0.value) / (x1.value - x0.value)
            slope = (y1.value - y0.value) / (x1.value - x0.value)
            x, y = (start * (1 - weight) + end * weight for start, end in ((x0, x1), (y0, y1)))
            return y + (at - x) * slope
    return None


def wilson_low(successes: int, trials: int) -> float:
    """Lower end of the 95 % interval of a proportion (Wilson 1927). It also holds for few trials or close to 1."""
    share, spread = successes / trials, QUANTILE**2 / trials
    half = QUANTILE * math.sqrt(share * (1 - share) / trials + spread / (4 * trials))
    return (share + spread / 2 - half) / (1 + spread)
