"""Tables, and numbers for a sentence, from the results that other programs stored in files."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.classification import store
from benchmarks.report import quality
from benchmarks.report.markdown_table import markdown_table
from benchmarks.report.rows import NOTHING, Row, mean_sd, only, paired, text

ROOT = Path(__file__).parents[2]
EXPANDED = ("data", "test", "classifier", "steps", "batch", "learning_rate", "size")  # of expand.IDENTITY


def _stored(name: str) -> Any:
    try:
        return json.loads((ROOT / name).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"there is no {name}") from error


def expanded(query: Mapping[str, str]) -> str:
    """Classifiers trained on a folder as it is, oversampled, and expanded, as ``expand.py`` stored them."""
    made = _expanded_rows(query)
    if not made:
        return f"\n{NOTHING}\n"
    first = next((row for row in made if row.arm == "unbalanced"), None)
    names = ("accuracy", "balanced_accuracy")
    lines = [
        [row.label, str(len(row.runs)), *(mean_sd(row.values(name)) for name in names),
         "" if first in (row, None) else str(paired(row, first, "balanced_accuracy") or "")]
        for row in made
    ]  # fmt: skip
    run = next(iter(made[0].runs.values()))
    note = (
        f"Percent, mean ± standard deviation over seeds, 95 % interval of the paired difference. {run['data']}, "
        f"{run['test']}, {run['classifier']}, {run['steps']} steps of {run['batch']}; {run['device']}, torch "
        f"{run['versions']['torch']}."
    )
    head = ["trained on", "seeds", "accuracy", "balanced accuracy", "balanced accuracy - unbalanced"]
    return f"\n{markdown_table(head, lines)}\n\n{note}\n"


def expanded_difference(query: Mapping[str, str]) -> str:
    """Balanced accuracy of ``arm`` minus that of ``to``, in points, with its interval, as ``expand.py`` stored them."""
    made = _expanded_rows(query)
    row, other = only(made, query["arm"]), only(made, query["to"])
    return str(paired(row, other, "balanced_accuracy") or NOTHING) if row and other else NOTHING


def _expanded_rows(query: Mapping[str, str]) -> list[Row]:
    arms: dict[tuple[str, str], dict[int, store.Run]] = {}
    runs = store.read(ROOT / query["file"], ("arm", "seed", "expand", *EXPANDED))
    for name in (*EXPANDED, "expand"):  # arms may differ in how many new images they have, not in how they are made
        values = [run[name] if name != "expand" else (run[name] or {}) | {"target": None} for run in runs]
        found = {json.dumps(value, sort_keys=True) for value in values if value != {"target": None}}
        if len(found) > 1:
            raise ValueError(f"the runs of {query['file']} differ in {name} ({', '.join(sorted(found))})")
    for run in runs:
        arms.setdefault((run["arm"], _target(run)), {})[run["seed"]] = run
    return [Row(f"{arm}{target}", arm, runs) for (arm, target), runs in arms.items()]


def _target(run: store.Run) -> str:
    """The option that said how many new images there are, such as " (--times 2)"; "" where there are none."""
    for name, value in run["expand"]["target"].items() if run["expand"] else ():
        if value:
            return f" (--{name.replace('_', '-')}{'' if value is True else f' {value}'})"
    return ""


def speed(query: Mapping[str, str]) -> str:
    """The newest results of ``throughput.py`` of one kind, for each name, on one device (cpu)."""
    device = query.get("device", "cpu")
    chosen = [
        line for line in store.read(ROOT / query["file"], ("kind", "device", "quick"))
        if line["kind"] == query["kind"] and line["device"] == device and not line["quick"]
    ]  # fmt: skip
    if not chosen:
        return f"\n{NOTHING}\n"
    common = ("kind", "device", "threads", "load", "quick", "versions")
    head = list(dict.fromkeys(name for line in chosen for name in line if name not in common))
    named = [name for name in head if not any(isinstance(line.get(name), float) for line in chosen)]
    newest: dict[tuple[str, ...], store.Run] = {}
    for line in chosen:
        key = tuple(str(line.get(name)) for name in named)
        newest.pop(key, None)  # so that the order is the newest run's
        newest[key] = line
    lines = [[text(line.get(name, "")) for name in head] for line in newest.values()]
    last = chosen[-1]
    note = f"{device}, {last['threads']} threads, torch {last['versions']['torch']}."
    return f"\n{markdown_table([name.replace('_', ' ') for name in head], lines)}\n\n{note}\n"


def value(query: Mapping[str, str]) -> str:
    """One number of a JSON file, at ``key``, its parts joined by slashes, as ``format`` says (as it stands)."""
    found = _stored(query["file"])
    for part in query["key"].split("/"):
        if part not in found:
            raise ValueError(f"{query['file']} has no {query['key']!r}; there are {', '.join(found)}")
        found = found[part]
    return format(found, query.get("format", "")).replace(",", " ")


def moves(query: Mapping[str, str]) -> str:
    """What changes along the directions, from the results of ``directions.py``."""
    from benchmarks.directions import table  # which needs torch

    return f"\n{table(_stored(query['file']))}\n"


FILES: dict[str, Callable[[Mapping[str, str]], str]] = {
    "quality": lambda query: f"\n{quality.table([ROOT / name for name in query['files'].split(',')])}\n",
    "directions": moves,
    "expanded": expanded,
    "expanded-difference": expanded_difference,
    "speed": speed,
    "value": value,
}
