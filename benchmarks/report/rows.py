"""Stored runs as the rows of a table, one for each arm and its settings, and paired differences between them."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.classification import store

FIGURES = {"accuracy": "accuracy", "mAP": "mAP", "balanced_accuracy": "balanced accuracy"}
# What made two of the short runs the same run.
IDENTITY = (
    "data", "imbalance", "split", "classifier", "base", "arm", "seed", "epochs", "dedup", "stage", "settings",
)  # fmt: skip
REFERENCES = ("balanced", "none")  # what the others are compared to
NOTHING = "not measured yet"
SHARED = ("batch", "learning_rate", "size", "channels", "precision")  # settings of arms.COMMON but the sampling
# Of Student's t, two-sided 95 %, for 1 to 30 degrees of freedom; beyond, the last one, which is a little too wide.
T95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """The runs of one arm with the same settings, one for each seed."""

    label: str
    arm: str
    runs: dict[int, store.Run]

    def values(self, figure: str) -> list[float]:
        """A figure in percent, in the order of seeds."""
        return [100 * self.runs[seed][figure] for seed in sorted(self.runs)]


@dataclass(frozen=True)
class Difference:
    """Mean over seeds of a paired difference in percentage points, and half the width of its 95 % interval."""

    mean: float
    half: float | None

    def __str__(self) -> str:
        interval = "" if self.half is None else f" [{self.mean - self.half:+.2f}, {self.mean + self.half:+.2f}]"
        return f"{self.mean:+.2f}{interval}"


def paired(row: Row, other: Row, figure: str) -> Difference | None:
    """``row`` minus ``other`` over common seeds. None if there are none, and no interval for one seed."""
    seeds = sorted(row.runs.keys() & other.runs.keys())
    if not seeds:
        return None
    values = [100 * (row.runs[seed][figure] - other.runs[seed][figure]) for seed in seeds]
    if len(values) == 1:
        return Difference(values[0], None)
    t = T95[min(len(values) - 1, len(T95)) - 1]
    return Difference(statistics.mean(values), t * statistics.stdev(values) / len(values) ** 0.5)


def select(runs: Sequence[store.Run], query: Mapping[str, str]) -> list[store.Run]:
    """The runs whose fields, or settings, have the values of ``query``; of the stage "report" if it names none.

    A setting is asked of the arms that have it: ``strength=0.5`` chooses ``balanced`` too.
    """
    wanted = {"stage": "report"} | dict(query)
    every = [run["settings"] | run for run in runs]
    known = {name for fields in every for name in fields}

    def matches(fields: Mapping[str, Any]) -> bool:
        return all(name in known and text(fields.get(name, value)) == value for name, value in wanted.items())

    return [run for run, fields in zip(runs, every, strict=True) if matches(fields)]


def text(value: Any) -> str:
    """A field's value in markers and labels. Text is unchanged, and everything else is JSON."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def rows(runs: Sequence[store.Run]) -> list[Row]:
    """Runs by arm and settings, references first; settings that differ within an arm are a part of its label.

    Raises ValueError where the runs differ in anything else, for their figures could not be compared.
    """
    fixed = [name for name in IDENTITY if name not in ("arm", "seed", "settings")]
    for name in (*fixed, "images", "measured"):  # lines of old lack the last
        found = sorted({text(run[name]) for run in runs if name in run})
        if len(found) > 1:
            raise ValueError(f"the runs differ in {name} ({', '.join(found)}); add {name}=VALUE to the marker")
    groups: dict[tuple[str, str], dict[int, store.Run]] = {}
    for run in runs:
        key = (run["arm"], json.dumps(run["settings"], sort_keys=True))
        groups.setdefault(key, {})[run["seed"]] = run
    made = []
    for (arm, settings), members in groups.items():
        others = [json.loads(stored) for name, stored in groups if name == arm]
        own = json.loads(settings)
        names = sorted({name for other in others for name in other.keys() | own.keys()})
        differing = [name for name in names if any(other.get(name) != own.get(name) for other in others)]
        fingerprints = {(other.get("checkpoint"), other.get("fingerprint")) for other in others}
        if len(fingerprints) == len({checkpoint for checkpoint, _ in fingerprints}):  # the name says which it is
            differing = [name for name in differing if name != "fingerprint"]
        note = ", ".join(f"{name} {text(own.get(name))}" for name in differing)
        made.append(Row(f"{arm} ({note})" if note else arm, arm, members))
    return sorted(made, key=lambda row: (row.arm not in REFERENCES, row.label))


def reference(table: Sequence[Row], arm: str, row: Row) -> Row | None:
    """The row to compare ``row`` with: of the rows of ``arm`` that were trained alike, the one with the most seeds."""
    alike = [other for other in table if other.arm == arm and trained_alike(row, other)]
    return max(alike, key=lambda other: len(other.runs), default=None)


def trained_alike(row: Row, other: Row) -> bool:
    """Whether two rows share the settings that every arm has, except the sampling, in which arms differ."""
    a, b = (next(iter(each.runs.values())).get("settings", {}) for each in (row, other))
    return all(a.get(name) == b.get(name) for name in SHARED)


def differences(runs: Sequence[store.Run], to: str, figure: str) -> list[tuple[str, Difference]]:
    """The paired differences of all arms to one arm, the largest first."""
    made = rows(runs)
    if not any(row.arm == to for row in made):
        raise ValueError(f"no run of {to}, to compare to")
    bases = [(row, reference(made, to, row)) for row in made if row.arm != to]
    pairs = [(row.label, paired(row, base, figure)) for row, base in bases if base is not None]
    return sorted(((label, d) for label, d in pairs if d is not None), key=lambda pair: -pair[1].mean)


def only(made: Sequence[Row], arm: str) -> Row | None:
    """The row of ``arm``, or None. Raises ValueError if there are several."""
    found = [row for row in made if row.arm == arm]
    if len(found) > 1:
        raise ValueError(f"arm {arm} has several settings ({', '.join(row.label for row in found)}); name one")
    return found[0] if found else None


def mean_sd(values: Sequence[float]) -> str:
    """Mean ± standard deviation, or only the mean for a single value."""
    return f"{statistics.mean(values):.2f}" + (f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else "")
