"""Tables, forest plots, and numbers for a sentence, from the runs of ``classification``."""

import statistics
from collections.abc import Callable, Mapping, Sequence

from benchmarks.classification import store
from benchmarks.report import forest
from benchmarks.report.markdown_table import markdown_table
from benchmarks.report.rows import (
    FIGURES,
    NOTHING,
    REFERENCES,
    Difference,
    Row,
    differences,
    mean_sd,
    only,
    paired,
    reference,
    rows,
)

# Table I, RAF-DB, in percent: classifier => arm => accuracy ("total precision") and mAP.
PAPER = {
    "ResNet-34": {"none": (70.21, 55.87), "balanced": (73.22, 64.12), "ours-decode": (74.43, 67.37)},
    "DAN": {"none": (88.32, 81.98), "balanced": (88.64, 80.95), "ours-decode": (89.24, 82.05)},
}


def table(runs: Sequence[store.Run], query: Mapping[str, str]) -> str:
    """Accuracy, mAP and balanced accuracy of every arm, and the paired differences."""
    made = rows(runs)
    against = [arm for arm in REFERENCES if any(row.arm == arm for row in made)]
    head = ["arm", "seeds", *FIGURES.values()]
    head += [f"{FIGURES[figure]} - {arm}" for arm in against for figure in ("accuracy", "mAP")]
    lines = []
    for row in made:
        cells = [row.label, str(len(row.runs)), *(mean_sd(row.values(figure)) for figure in FIGURES)]
        for arm in against:
            other = reference(made, arm, row)
            cells += [
                "" if other in (row, None) else str(paired(row, other, figure) or "") for figure in ("accuracy", "mAP")
            ]  # fmt: skip
        lines.append(cells)
    devices = sorted({f"{run['device']}, torch {run['versions']['torch']}" for run in runs})
    first = runs[0]
    without = f" ({first['dedup']} images without near-duplicates)" if first["dedup"] else ""
    cut = f" cut to imbalance {first['imbalance']:g}" if first["imbalance"] else ""
    note = (
        f"Percent; over several seeds mean ± standard deviation, and paired differences with 95 % intervals (of seeds, "
        f"not of images). {first['data']}{cut}, {first['split']}{without}, {first['classifier']}, base "
        f"{first['base']}, {first['epochs']} epochs; {'; '.join(devices)}."
    )
    return f"\n{markdown_table(head, lines)}\n\n{note}\n"


def recall(runs: Sequence[store.Run], query: Mapping[str, str]) -> str:
    """Recall of each class in percent, averaged over seeds."""
    return _per_class(runs, lambda run: run["recall"])


def overfit(runs: Sequence[store.Run], query: Mapping[str, str]) -> str:
    """By how many points the recall of each class is higher on training images, averaged over seeds."""
    known = [run for run in runs if "fitted" in run]
    if not known:
        return f"\n{NOTHING}\n"
    return _per_class(known, lambda run: [a - b for a, b in zip(run["fitted"], run["recall"], strict=True)], "+")


def shortcut(runs: Sequence[store.Run], query: Mapping[str, str]) -> str:
    """How often an image of another class is taken for the rarest one, without and with augmentation."""
    known = [run for run in runs if "alarms" in run]
    if not known:
        return f"\n{NOTHING}\n"
    lines = [[row.label, str(len(row.runs)), *_means(row, lambda run: run["alarms"])] for row in rows(known)]
    return f"\n{markdown_table(['arm', 'seeds', 'images as they are', 'the same images augmented'], lines)}\n"


def _per_class(runs: Sequence[store.Run], values: Callable[[store.Run], Sequence[float]], sign: str = "") -> str:
    lines = [[row.label, str(len(row.runs)), *_means(row, values, sign)] for row in rows(runs)]
    return f"\n{markdown_table(['arm', 'seeds', *runs[0]['classes']], lines)}\n"


def _means(row: Row, values: Callable[[store.Run], Sequence[float]], sign: str = "") -> list[str]:
    columns = zip(*(values(run) for run in row.runs.values()), strict=True)
    return [f"{100 * statistics.mean(column):{sign}.1f}" for column in columns]


def gains(runs: Sequence[store.Run], query: Mapping[str, str]) -> str:
    """How far every arm is ahead of ``balanced`` in accuracy and mAP, sorted by accuracy."""
    accuracy, average = (dict(differences(runs, "balanced", figure)) for figure in ("accuracy", "mAP"))
    seeds = {row.label: len(row.runs) for row in rows(runs)}
    lines = [[label, str(seeds[label]), str(accuracy[label]), str(average[label])] for label in accuracy]
    return f"\n{markdown_table(['arm', 'seeds', 'accuracy', 'mAP'], lines)}\n"


def paper(runs: Sequence[store.Run], query: Mapping[str, str]) -> str:
    """The paper's accuracy and mAP (RAF-DB) beside ours (other data: the differences compare, the levels do not)."""
    made = rows(runs)
    lines = []
    for classifier, arms in PAPER.items():
        for arm, (accuracy, average) in arms.items():
            base = arms["balanced"]
            cells = (f"{accuracy - base[0]:+.2f}", f"{average - base[1]:+.2f}") if arm != "balanced" else ("", "")
            lines.append([f"the paper, RAF-DB, {classifier}", arm, f"{accuracy:.2f}", f"{average:.2f}", *cells])
    for row in made:
        balanced = reference(made, "balanced", row)
        if row.arm in REFERENCES or row.arm.startswith("ours"):
            run = next(iter(row.runs.values()))
            cells = [f"{statistics.mean(row.values(figure)):.2f}" for figure in ("accuracy", "mAP")]
            for figure in ("accuracy", "mAP"):
                cells.append("" if balanced in (row, None) else str(paired(row, balanced, figure) or ""))
            lines.append([f"here, {run['data']}, {run['classifier']}", row.label, *cells])
    return f"\n{markdown_table(['', 'arm', 'accuracy', 'mAP', 'accuracy - balanced', 'mAP - balanced'], lines)}\n"


def difference(runs: Sequence[store.Run], query: Mapping[str, str]) -> str:
    """``figure`` (mAP) of ``arm`` minus that of ``to`` (balanced), in points, with its interval."""
    made = rows(runs)
    row, other = only(made, query["arm"]), only(made, query.get("to", "balanced"))
    return str(paired(row, other, query.get("figure", "mAP")) or NOTHING) if row and other else NOTHING


def mean(runs: Sequence[store.Run], query: Mapping[str, str]) -> str:
    """``figure`` (mAP) of ``arm`` in percent."""
    row = only(rows(runs), query["arm"])
    return f"{statistics.mean(row.values(query.get('figure', 'mAP'))):.2f}" if row else NOTHING


def drawn(runs: Sequence[store.Run], query: Mapping[str, str]) -> str:
    """The forest plot of ``figure`` (mAP) against ``to`` (balanced), drawn with characters."""
    title, points = titled(runs, query.get("to", "balanced"), query.get("figure", "mAP"))
    return f"\n```text\n{title}\n{forest.text(points)}\n```\n"


def titled(runs: Sequence[store.Run], to: str, figure: str) -> tuple[str, list[tuple[str, Difference]]]:
    """The title and the points of a forest plot."""
    points = differences(runs, to, figure)
    if not points:
        raise ValueError(f"no arm shares a seed with {to}")
    return f"{FIGURES[figure]} minus that of {to}, percentage points, 95 % interval", points


KINDS: dict[str, Callable[[Sequence[store.Run], Mapping[str, str]], str]] = {
    "table": table, "recall": recall, "overfit": overfit, "shortcut": shortcut, "gains": gains, "paper": paper,
    "forest": drawn, "difference": difference, "mean": mean,
}  # fmt: skip
IN_PROSE = ("difference", "mean")
