"""Paired differences between rows, with intervals over seeds and over images."""

import statistics
from dataclasses import dataclass

import torch

from benchmarks.classification.measure import unpack_bits

from .rows import Row, read_figure

# Two-sided 95 % quantiles of Student's t for 1 to 30 degrees of freedom. The last one is also used beyond 30, where it
# makes the intervals slightly too wide.
T95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
RESAMPLES = 2000


@dataclass(frozen=True)
class Difference:
    """Mean over seeds of a paired difference in percentage points, and half the width of its 95 % interval.

    ``half`` is None for a single seed, because there is no interval then.
    """

    mean: float
    half: float | None
    seeds: int

    def __str__(self) -> str:
        interval = "" if self.half is None else f" [{self.mean - self.half:+.2f}, {self.mean + self.half:+.2f}]"
        return f"{self.mean:+.2f}{interval}"


def compare(row: Row, other: Row, figure: str, adjusted: bool = False) -> Difference | None:
    """``row`` minus ``other`` over the seeds that both have, with a t interval. None if they share no seed."""
    seeds = [seed for seed in row.seeds if seed in other.runs]
    if not seeds:
        return None
    values = [
        100 * (read_figure(row.runs[seed], figure, adjusted) - read_figure(other.runs[seed], figure, adjusted))
        for seed in seeds
    ]
    if len(values) == 1:
        return Difference(values[0], None, 1)
    t = T95[min(len(values) - 1, len(T95)) - 1]
    return Difference(statistics.mean(values), t * statistics.stdev(values) / len(values) ** 0.5, len(values))


def bootstrap(row: Row, other: Row, figure: str, adjusted: bool = False) -> tuple[float, float] | None:
    """95 % interval over images of the difference in accuracy or balanced accuracy, averaged over the shared seeds.

    Images are resampled within their class. Both rows and all seeds get the same resampled images, so that their common
    variation cancels. Returns percentage points, or None if the rows share no seed.
    """
    seeds = [seed for seed in row.seeds if seed in other.runs]
    if not seeds:
        return None
    counts = row.runs[seeds[0]]["measured_counts"]
    ahead = torch.stack([_right(row, seed, adjusted) - _right(other, seed, adjusted) for seed in seeds]).mean(0)
    generator = torch.Generator().manual_seed(0)
    means = []
    for part in ahead.split(counts):
        drawn = torch.randint(len(part), (RESAMPLES, len(part)), generator=generator)
        means.append(part[drawn].mean(1))
    per_class = torch.stack(means)  # (K, RESAMPLES)
    weight = torch.tensor(counts, dtype=torch.float64) if figure == "accuracy" else torch.ones(len(counts)).double()
    found = 100 * (weight / weight.sum()) @ per_class
    low, high = found.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high


def _right(row: Row, seed: int, adjusted: bool) -> torch.Tensor:
    run = row.runs[seed]
    reading = run["adjusted"] if adjusted else run
    return unpack_bits(reading["correct"], sum(run["measured_counts"])).double()


def mean_sd(values: list[float]) -> str:
    """Mean ± standard deviation, or only the mean for a single value."""
    return f"{statistics.mean(values):.2f}" + (f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else "")
