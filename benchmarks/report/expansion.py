"""The report on classifiers trained on an expanded folder, from the results of ``benchmarks.classification.expand``."""

import json
from typing import Any

from benchmarks.classification import store

from .intervals import compare, mean_sd
from .markdown import make_table
from .rows import RESULTS, Row

FIELDS = ("data", "test", "classifier", "steps", "batch", "learning_rate", "size")  # of expand.IDENTITY


def make_report() -> str:
    """Return the text of the report."""
    rows = read_rows()
    run = next(iter(rows[0].runs.values()))
    first = next(row for row in rows if row.arm == "unbalanced")
    lines = []
    for row in rows:
        cells = [mean_sd(row.values(name)) for name in ("accuracy", "balanced_accuracy")]
        difference = "" if row is first else str(compare(row, first, "balanced_accuracy"))
        lines.append([row.label, str(len(row.runs)), *cells, difference])
    head = ["trained on", "seeds", "accuracy", "balanced accuracy", "balanced accuracy - unbalanced"]
    return (
        "\n\n".join(
            [
                "# Classifiers on an expanded folder",
                "    semantic-aug expand fer2013-48 fer2013/train --output fer2013/balanced --balance\n"
                "    python -m benchmarks.classification.expand fer2013/train fer2013/balanced \\\n"
                "        --test fer2013/test --steps 1500 --seeds 3",
                "Plain torchvision code trains on the unbalanced folder, on the same folder with every class drawn "
                "equally often, and on the folder with new images.",
                make_table(head, lines),
                f"Figures are in percent, mean ± standard deviation over seeds, with 95 % intervals of the paired "
                f"differences. Data {run['data']}, split {run['test']}, network {run['classifier']}, {run['steps']} "
                f"steps with batches of {run['batch']}, {run['device']}, torch {run['versions']['torch']}.",
            ]
        )
        + "\n"
    )


def read_rows() -> list[Row]:
    """Return one row for each arm and number of new images. Raises ValueError if runs differ in anything else."""
    runs = store.read(RESULTS / "expand.jsonl", ("arm", "seed", "expand", *FIELDS))
    for name in (*FIELDS, "expand"):  # arms may differ in the number of new images, but not in how they were made
        values = [run[name] if name != "expand" else (run[name] or {}) | {"target": None} for run in runs]
        found = {json.dumps(value, sort_keys=True) for value in values if value != {"target": None}}
        if len(found) > 1:
            raise ValueError(f"the runs of expand.jsonl differ in {name} ({', '.join(sorted(found))})")
    arms: dict[tuple[str, str], dict[int, store.Run]] = {}
    for run in runs:
        arms.setdefault((run["arm"], _target(run)), {})[run["seed"]] = run
    return [Row("", arm, f"{arm}{target}", {}, runs) for (arm, target), runs in arms.items()]


def _target(run: dict[str, Any]) -> str:
    """The option that set the number of new images, such as " (--times 2)", or "" if there are none."""
    for name, value in run["expand"]["target"].items() if run["expand"] else ():
        if value:
            return f" (--{name.replace('_', '-')}{'' if value is True else f' {value}'})"
    return ""
