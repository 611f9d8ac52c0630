"""Groups of stored runs that can be compared. A group has one row for each base, arm and choice of settings."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.classification import store
from benchmarks.classification.arms import parse_arm
from benchmarks.classification.protocol import COMMON, VERSION, resolve

RESULTS = Path(__file__).parents[1] / "results"
SHORT = RESULTS / "classification-short.jsonl"
# The fields that identified a short run. ``read_short`` converts them to the current fields.
SHORT_IDENTITY = (
    "data", "imbalance", "split", "classifier", "base", "arm", "seed", "epochs", "dedup", "stage", "settings",
)  # fmt: skip
GROUPED = ("data", "imbalance", "dedup", "split", "classifier", "epochs", "protocol")
SAW = {"more labels": "checkpoint saw more labels", "more images": "checkpoint saw more images"}


@dataclass(frozen=True)
class Row:
    """The runs with one base, arm and choice of settings. There is one run for each seed."""

    base: str
    arm: str
    label: str
    settings: Mapping[str, Any]
    runs: Mapping[int, store.Run]

    @property
    def seeds(self) -> list[int]:
        """The seeds of the runs, in ascending order."""
        return sorted(self.runs)

    def values(self, figure: str, adjusted: bool = False) -> list[float]:
        """A figure in percent, in the order of seeds. ``adjusted`` means after logit adjustment with tau 1."""
        return [100 * read_figure(self.runs[seed], figure, adjusted) for seed in self.seeds]


@dataclass(frozen=True)
class Group:
    """Runs that differ only in base, arm, seed and the settings of the arm."""

    fields: Mapping[str, Any]
    rows: Sequence[Row]

    @property
    def title(self) -> str:
        """The data, the split, the classifier and the number of epochs in words."""
        fields = self.fields
        cut = f", cut to imbalance {fields['imbalance']:g}" if fields["imbalance"] else ""
        return f"{fields['data']}{cut}: {fields['split']}, {fields['classifier']}, {fields['epochs']} epochs"

    @property
    def runs(self) -> list[store.Run]:
        """The runs of all rows."""
        return [run for row in self.rows for run in row.runs.values()]


def read_figure(run: store.Run, figure: str, adjusted: bool) -> float:
    """One figure of a run as a fraction. mAP always comes from the unadjusted scores."""
    return run["adjusted"][figure] if adjusted and figure != "mAP" else run[figure]


def read_short(path: Path = SHORT) -> list[store.Run]:
    """Read the runs of short trainings and give them the current fields."""
    runs = []
    for run in store.read(path, (*SHORT_IDENTITY, *store.FIGURES)):
        settings = {name: value for name, value in run["settings"].items() if name != "sampling"}
        changed = {
            "settings": settings | {"crop": run["base"]},
            "base": run["settings"]["sampling"],
            "dedup": run["dedup"] or None,
            "protocol": 0,
        }
        runs.append(run | changed)
    return runs


def group_runs(runs: Sequence[store.Run]) -> list[Group]:
    """Sort runs into groups, in the order of their first runs."""
    found: dict[str, list[store.Run]] = {}
    for run in runs:
        common = {name: run["settings"].get(name) for name in COMMON}
        key = json.dumps([{name: run[name] for name in GROUPED}, common], sort_keys=True)
        found.setdefault(key, []).append(run)
    groups = []
    for key, members in found.items():
        fields, common = json.loads(key)
        groups.append(Group(fields | {"settings": common}, make_rows(members)))
    return groups


def make_rows(runs: Sequence[store.Run]) -> list[Row]:
    """Make the rows of one group.

    If a setting of an arm differs between rows, it is part of the label, except where it has its default.
    """
    current = runs[0]["protocol"] == VERSION  # the defaults of earlier versions may have been others
    found: dict[tuple[str, str, str], dict[int, store.Run]] = {}
    for run in runs:
        key = (run["base"], run["arm"], json.dumps(run["settings"], sort_keys=True))
        found.setdefault(key, {})[run["seed"]] = run
    rows = []
    for (base, arm, text), members in found.items():
        settings = json.loads(text)
        others = [json.loads(other[2]) for other in found if other[:2] == (base, arm)]
        defaults = resolve(parse_arm(arm), base, {}) if current else {}
        differing = find_differing(settings, others)
        differing = [name for name in differing if name not in defaults or settings.get(name) != defaults[name]]
        note = [f"{name} {as_text(settings.get(name))}" for name in differing]
        note += [SAW[settings["checkpoint_saw"]]] if settings.get("checkpoint_saw") in SAW else []
        label = f"{arm} ({', '.join(note)})" if note else arm
        rows.append(Row(base, arm, label, settings, members))
    bases = list(dict.fromkeys(row.base for row in rows))
    return sorted(rows, key=lambda row: (bases.index(row.base), row.arm != "none", row.label))


def find_differing(settings: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the settings in which ``others`` differ from ``settings``, without redundant ones."""
    names = sorted({name for other in others for name in other.keys() | settings.keys()})
    differing = [name for name in names if any(other.get(name) != settings.get(name) for other in others)]
    artifacts = {(other.get("checkpoint"), other.get("fingerprint")) for other in others}
    told = len(artifacts) == len({checkpoint for checkpoint, _ in artifacts})
    hidden = {"checkpoint_saw"} | ({"fingerprint"} if told else set())
    return [name for name in differing if name not in hidden]


def as_text(value: Any) -> str:
    """The value of a setting as text for a label. A string stays as it is, and other values become JSON."""
    return value if isinstance(value, str) else json.dumps(value)
