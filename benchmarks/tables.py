"""Tables, figures and numbers in prose, made from the stored runs: python benchmarks/tables.py (see --help)

A document asks for them by markers, between which this program writes and nobody else:

    <!-- runs: table classifier=resnet34 base=flip-crop stage=report -->
    <!-- runs end -->

The first word is the kind: ``table`` (all arms, with their differences to ``balanced`` and ``none``), ``recall`` (per
class), ``overfit`` (how much higher that is on images trained on), ``shortcut`` (how often an image of another class is
called the rarest, augmented or not), ``gains`` (the differences to ``balanced`` alone), ``paper`` (the paper's figures
beside ours), ``forest`` (differences with their intervals, drawn in characters; it may have ``figure=`` and ``to=``),
``difference`` (one of them, to stand in a sentence; it needs ``arm=`` too) or ``mean`` (one number). The others are
fields of a run, or of its settings, and the values that they must have where an arm has them. Other measurements are
read from JSON files:

    <!-- runs: quality files=benchmarks/results/quality/fer2013-48.json --> (several with commas between them)
    <!-- runs: directions file=benchmarks/results/directions.json -->
    <!-- runs: expanded file=benchmarks/results/expand.jsonl -->
    <!-- runs: expanded-difference file=benchmarks/results/expand.jsonl arm=expanded to=unbalanced --> (for a sentence)
    <!-- runs: speed file=benchmarks/results/throughput.jsonl kind=augmentation -->
    <!-- runs: value file=checkpoints/fer2013-48/config.json key=reconstruction/l1_mean format=.4f --> (for a sentence)

``--check`` fails where what stands between two markers is not what is stored.
"""

import argparse
import json
import re
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import forest
import quality
import store

ROOT = Path(__file__).parents[1]
DOCUMENTS = ["README.md", "benchmarks/README.md", "checkpoints/*/README.md", "docs/*.md"]  # of --check and --write
BLOCK = re.compile(r"(<!-- runs: (.*?) -->)(.*?)(<!-- runs end -->)", re.DOTALL)
FIGURES = {"accuracy": "accuracy", "mAP": "mAP", "balanced_accuracy": "balanced accuracy"}
REFERENCES = ("balanced", "none")  # what the others are compared to
NOTHING = "not measured yet"
SHARED = ("batch", "learning_rate", "size", "channels", "precision")  # settings of arms.COMMON but the sampling
EXPANDED = ("data", "test", "classifier", "steps", "batch", "learning_rate", "size")  # of expand.IDENTITY
# Of Student's t, two-sided 95 %, for 1 to 30 degrees of freedom; beyond, the last one, which is a little too wide.
T95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
    2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
# Table I, RAF-DB, in percent: classifier => arm => accuracy ("total precision") and mAP.
PAPER = {
    "ResNet-34": {"none": (70.21, 55.87), "balanced": (73.22, 64.12), "ours-decode": (74.43, 67.37)},
    "DAN": {"none": (88.32, 81.98), "balanced": (88.64, 80.95), "ours-decode": (89.24, 82.05)},
}


@dataclass(frozen=True)
class Row:
    """The runs of one arm with one choice of settings, one for each seed."""

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
    """``row`` minus ``other`` over the seeds that both have; None where there are none, no interval for one seed."""
    seeds = sorted(row.runs.keys() & other.runs.keys())
    if not seeds:
        return None
    values = [100 * (row.runs[seed][figure] - other.runs[seed][figure]) for seed in seeds]
    if len(values) == 1:
        return Difference(values[0], None)
    t = T95[min(len(values) - 1, len(T95)) - 1]
    return Difference(statistics.mean(values), t * statistics.stdev(values) / len(values) ** 0.5)


# --- Choosing runs ----------------------------------------------------------------------------------------------


def select(runs: Sequence[store.Run], query: Mapping[str, str]) -> list[store.Run]:
    """The runs whose fields, or settings, have the values of ``query``; of the stage "report" if it names none.

    A setting is asked of the arms that have it: ``strength=0.5`` chooses ``balanced`` too.
    """
    wanted = {"stage": "report"} | dict(query)
    every = [run["settings"] | run for run in runs]
    known = {name for fields in every for name in fields}

    def matches(fields: Mapping[str, Any]) -> bool:
        return all(name in known and _text(fields.get(name, value)) == value for name, value in wanted.items())

    return [run for run, fields in zip(runs, every, strict=True) if matches(fields)]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def rows(runs: Sequence[store.Run]) -> list[Row]:
    """Runs by arm and settings, references first; settings that differ within an arm are a part of its label.

    Raises ValueError where the runs differ in anything else, for their figures could not be compared.
    """
    fixed = [name for name in store.IDENTITY if name not in ("arm", "seed", "settings")]
    for name in (*fixed, "images", "measured"):  # lines of old lack the last
        found = sorted({_text(run[name]) for run in runs if name in run})
        if len(found) > 1:
            raise ValueError(f"the runs differ in {name} ({', '.join(found)}); add {name}=VALUE to the marker")
    groups: dict[tuple[str, str], dict[int, store.Run]] = {}
    for run in runs:
        key = (run["arm"], json.dumps(run["settings"], sort_keys=True))
        groups.setdefault(key, {})[run["seed"]] = run
    made = []
    for (arm, settings), members in groups.items():
        others = [json.loads(text) for name, text in groups if name == arm]
        own = json.loads(settings)
        names = sorted({name for other in others for name in other.keys() | own.keys()})
        differing = [name for name in names if any(other.get(name) != own.get(name) for other in others)]
        if "checkpoint" in differing:
            differing.remove("fingerprint")
        note = ", ".join(f"{name} {_text(own.get(name))}" for name in differing)
        made.append(Row(f"{arm} ({note})" if note else arm, arm, members))
    return sorted(made, key=lambda row: (row.arm not in REFERENCES, row.label))


def reference(table: Sequence[Row], arm: str, row: Row) -> Row | None:
    """What ``row`` is compared to: of the rows of ``arm`` that were trained alike, the one with most seeds."""
    alike = [other for other in table if other.arm == arm and trained_alike(row, other)]
    return max(alike, key=lambda other: len(other.runs), default=None)


def trained_alike(row: Row, other: Row) -> bool:
    """Whether two rows share the settings that every arm has, but for the sampling, which is what arms differ in."""
    a, b = (next(iter(each.runs.values())).get("settings", {}) for each in (row, other))
    return all(a.get(name) == b.get(name) for name in SHARED)


# --- What is made -----------------------------------------------------------------------------------------------


def table(runs: Sequence[store.Run], query: Mapping[str, str]) -> str:
    """Accuracy, mAP and balanced accuracy of every arm, and the paired differences."""
    made = rows(runs)
    against = [arm for arm in REFERENCES if any(row.arm == arm for row in made)]
    head = ["arm", "seeds", *FIGURES.values()]
    head += [f"{FIGURES[figure]} - {arm}" for arm in against for figure in ("accuracy", "mAP")]
    lines = []
    for row in made:
        cells = [row.label, str(len(row.runs)), *(_mean_sd(row.values(figure)) for figure in FIGURES)]
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
    return f"\n{_markdown(head, lines)}\n\n{note}\n"


def recall(runs: Sequence[store.Run], query: Mapping[str, str]) -> str:
    """Recall of each class, in percent, mean over seeds."""
    return _per_class(runs, lambda run: run["recall"])


def overfit(runs: Sequence[store.Run], query: Mapping[str, str]) -> str:
    """How much higher the recall of each class is on images trained on, in points, mean over seeds."""
    known = [run for run in runs if "fitted" in run]
    if not known:
        return f"\n{NOTHING}\n"
    return _per_class(known, lambda run: [a - b for a, b in zip(run["fitted"], run["recall"], strict=True)], "+")


def shortcut(runs: Sequence[store.Run], query: Mapping[str, str]) -> str:
    """How often an image of another class is called the rarest one, as it is and augmented, mean over seeds."""
    known = [run for run in runs if "alarms" in run]
    if not known:
        return f"\n{NOTHING}\n"
    lines = [[row.label, str(len(row.runs)), *_means(row, lambda run: run["alarms"])] for row in rows(known)]
    return f"\n{_markdown(['arm', 'seeds', 'images as they are', 'the same images augmented'], lines)}\n"


def _per_class(runs: Sequence[store.Run], values: Callable[[store.Run], Sequence[float]], sign: str = "") -> str:
    lines = [[row.label, str(len(row.runs)), *_means(row, values, sign)] for row in rows(runs)]
    return f"\n{_markdown(['arm', 'seeds', *runs[0]['classes']], lines)}\n"


def _means(row: Row, values: Callable[[store.Run], Sequence[float]], sign: str = "") -> list[str]:
    columns = zip(*(values(run) for run in row.runs.values()), strict=True)
    return [f"{100 * statistics.mean(column):{sign}.1f}" for column in columns]


def gains(runs: Sequence[store.Run], query: Mapping[str, str]) -> str:
    """How far every arm is ahead of ``balanced`` in accuracy and mAP, the farthest in accuracy first."""
    accuracy, average = (dict(differences(runs, "balanced", figure)) for figure in ("accuracy", "mAP"))
    seeds = {row.label: len(row.runs) for row in rows(runs)}
    lines = [[label, str(seeds[label]), str(accuracy[label]), str(average[label])] for label in accuracy]
    return f"\n{_markdown(['arm', 'seeds', 'accuracy', 'mAP'], lines)}\n"


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
    return f"\n{_markdown(['', 'arm', 'accuracy', 'mAP', 'accuracy - balanced', 'mAP - balanced'], lines)}\n"


def difference(runs: Sequence[store.Run], query: Mapping[str, str]) -> str:
    """``figure`` (mAP) of ``arm`` minus that of ``to`` (balanced), in points, with its interval."""
    made = rows(runs)
    row, other = _only(made, query["arm"]), _only(made, query.get("to", "balanced"))
    return str(paired(row, other, query.get("figure", "mAP")) or NOTHING) if row and other else NOTHING


def mean(runs: Sequence[store.Run], query: Mapping[str, str]) -> str:
    """``figure`` (mAP) of ``arm`` in percent."""
    row = _only(rows(runs), query["arm"])
    return f"{statistics.mean(row.values(query.get('figure', 'mAP'))):.2f}" if row else NOTHING


def differences(runs: Sequence[store.Run], to: str, figure: str) -> list[tuple[str, Difference]]:
    """The paired difference of every arm to one, the largest first."""
    made = rows(runs)
    if not any(row.arm == to for row in made):
        raise ValueError(f"no run of {to}, to compare to")
    bases = [(row, reference(made, to, row)) for row in made if row.arm != to]
    pairs = [(row.label, paired(row, base, figure)) for row, base in bases if base is not None]
    return sorted(((label, d) for label, d in pairs if d is not None), key=lambda pair: -pair[1].mean)


def drawn(runs: Sequence[store.Run], query: Mapping[str, str]) -> str:
    """The forest plot of ``figure`` (mAP), against ``to`` (balanced), in characters."""
    title, points = _titled(runs, query.get("to", "balanced"), query.get("figure", "mAP"))
    return f"\n```text\n{title}\n{forest.text(points)}\n```\n"


def _titled(runs: Sequence[store.Run], to: str, figure: str) -> tuple[str, list[tuple[str, Difference]]]:
    points = differences(runs, to, figure)
    if not points:
        raise ValueError(f"no arm shares a seed with {to}")
    return f"{FIGURES[figure]} minus that of {to}, percentage points, 95 % interval", points


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
        [row.label, str(len(row.runs)), *(_mean_sd(row.values(name)) for name in names),
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
    return f"\n{_markdown(head, lines)}\n\n{note}\n"


def expanded_difference(query: Mapping[str, str]) -> str:
    """Balanced accuracy of ``arm`` minus that of ``to``, in points, with its interval, as ``expand.py`` stored them."""
    made = _expanded_rows(query)
    row, other = _only(made, query["arm"]), _only(made, query["to"])
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
    """One kind of the figures of ``throughput.py``, on one device (cpu), the newest of each name."""
    device = query.get("device", "cpu")
    chosen = [
        line for line in store.read(ROOT / query["file"], ("kind", "device", "quick"))
        if line["kind"] == query["kind"] and line["device"] == device and not line["quick"]
    ]  # fmt: skip
    if not chosen:
        return f"\n{NOTHING}\n"
    common = ("kind", "device", "threads", "load", "quick", "versions")
    head = list(dict.fromkeys(name for line in chosen for name in line if name not in common))
    named = [name for name in head if not isinstance(chosen[0].get(name), float)]
    newest: dict[tuple[str, ...], store.Run] = {}
    for line in chosen:
        key = tuple(str(line.get(name)) for name in named)
        newest.pop(key, None)  # so that the order is the newest run's
        newest[key] = line
    lines = [[_text(line.get(name, "")) for name in head] for line in newest.values()]
    last = chosen[-1]
    note = f"{device}, {last['threads']} threads, torch {last['versions']['torch']}."
    return f"\n{_markdown([name.replace('_', ' ') for name in head], lines)}\n\n{note}\n"


def value(query: Mapping[str, str]) -> str:
    """One number of a JSON file, at ``key``, its parts joined by slashes, as ``format`` says (as it stands)."""
    found = _stored(query["file"])
    for part in query["key"].split("/"):
        if part not in found:
            raise ValueError(f"{query['file']} has no {query['key']!r}; there are {', '.join(found)}")
        found = found[part]
    return format(found, query.get("format", "")).replace(",", " ")


def moves(query: Mapping[str, str]) -> str:
    """What changes along the directions, as ``directions.py`` stored it."""
    from directions import table  # which needs torch

    return f"\n{table(_stored(query['file']))}\n"


FILES: dict[str, Callable[[Mapping[str, str]], str]] = {
    "quality": lambda query: f"\n{quality.table([ROOT / name for name in query['files'].split(',')])}\n",
    "directions": moves,
    "expanded": expanded,
    "expanded-difference": expanded_difference,
    "speed": speed,
    "value": value,
}
KINDS: dict[str, Callable[[Sequence[store.Run], Mapping[str, str]], str]] = {
    "table": table, "recall": recall, "overfit": overfit, "shortcut": shortcut, "gains": gains, "paper": paper,
    "forest": drawn, "difference": difference, "mean": mean,
}  # fmt: skip
IN_PROSE = ("difference", "mean")


def _only(made: Sequence[Row], arm: str) -> Row | None:
    found = [row for row in made if row.arm == arm]
    if len(found) > 1:
        raise ValueError(f"arm {arm} has several settings ({', '.join(row.label for row in found)}); name one")
    return found[0] if found else None


def _mean_sd(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.2f}" + (f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else "")


def _markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *lines))


# --- Documents --------------------------------------------------------------------------------------------------


def block(text: str, runs: Sequence[store.Run]) -> str:
    """What belongs between two markers, of which the first says ``text``."""
    kind, *parts = text.split()
    if kind not in KINDS | FILES:
        raise ValueError(f"unknown kind {kind!r} in the marker 'runs: {text}'; known: {', '.join(KINDS | FILES)}")
    query = dict(part.partition("=")[::2] for part in parts)
    if kind in FILES:
        try:
            return FILES[kind](query)
        except KeyError as error:
            raise ValueError(f"the marker 'runs: {text}' needs {error.args[0]}=") from error
    if kind in IN_PROSE and "arm" not in query:
        raise ValueError(f"the marker 'runs: {text}' needs arm=NAME")
    if query.get("figure", "mAP") not in FIGURES:
        raise ValueError(f"unknown figure {query['figure']!r} in 'runs: {text}'; known: {', '.join(FIGURES)}")
    filters = {name: value for name, value in query.items() if name not in ("figure", "to")}
    if kind in IN_PROSE:
        filters = {name: value for name, value in filters.items() if name != "arm"}
    chosen = select(runs, filters)
    try:
        made = KINDS[kind](chosen, query) if chosen else NOTHING
    except ValueError as error:
        raise ValueError(f"marker 'runs: {text}': {error}") from error
    return made if kind in IN_PROSE else f"\n{made}\n" if made == NOTHING else made


def filled(document: str, runs: Sequence[store.Run]) -> str:
    """A document with everything between its markers made anew. Raises ValueError for markers that do not pair."""
    if document.count("<!-- runs:") != len(BLOCK.findall(document)):
        raise ValueError("a marker 'runs: ...' has no 'runs end' after it, or one too many stands before that")
    return BLOCK.sub(lambda found: found[1] + block(found[2], runs) + found[4], document)


def stale(document: str, runs: Sequence[store.Run]) -> list[str]:
    """The markers after which something else stands than the stored runs give."""
    found, made = BLOCK.findall(document), BLOCK.findall(filled(document, runs))
    return [old[1] for old, new in zip(found, made, strict=True) if old[2] != new[2]]


def draw(runs: Sequence[store.Run], to: str, figure: str, path: Path | None) -> None:
    """Draw to ``path``, or print as text where there is no path, or no matplotlib."""
    title, points = _titled(runs, to, figure)
    if path is not None:
        try:
            forest.picture(points, title, path)
            return
        except ModuleNotFoundError:
            print(f"matplotlib is not there (extra bench): as text, {path} is not written", file=sys.stderr)
    print(f"{title}\n{forest.text(points)}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print, write or check; 0, 1 where a document is stale, 2 where something is refused."""
    options = _parser().parse_args(arguments)
    try:
        return _main(options)
    except (ValueError, OSError) as error:
        print(f"tables: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def _main(options: argparse.Namespace) -> int:
    runs = store.read(options.results)
    if options.check is not None or options.write is not None:
        given = options.check if options.check is not None else options.write
        paths = [Path(path) for path in given] or sorted(path for each in DOCUMENTS for path in ROOT.glob(each))
        outdated = False
        for path in paths:
            document = path.read_text(encoding="utf-8")
            try:
                if options.write is not None:
                    path.write_text(filled(document, runs), encoding="utf-8")
                    continue
                for text in stale(document, runs):
                    print(f"{path}: 'runs: {text}' is not what the stored runs give; --write makes it so")
                    outdated = True
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error
        return 1 if outdated else 0
    chosen = select(runs, dict(part.partition("=")[::2] for part in options.select))
    if not chosen:
        raise ValueError(f"no stored run is of {' '.join(options.select) or 'stage=report'}")
    if options.forest:
        draw(chosen, options.to, options.figure, options.output)
    else:
        print(table(chosen, {}) + recall(chosen, {}))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("select", metavar="FIELD=VALUE", nargs="*", help="the runs to print a table of")
    add("--results", metavar="FILE", type=Path, default=store.RESULTS)
    add("--write", metavar="FILE", nargs="*", help="fill in the markers (default: README, benchmarks, cards, docs)")
    add("--check", metavar="FILE", nargs="*", help="fail where --write would change something")
    add("--forest", action="store_true", help="a forest plot of the runs")
    add("--output", metavar="PNG", type=Path, help="where to draw it (default: print it)")
    add("--figure", choices=tuple(FIGURES), default="mAP", help="default: mAP")
    add("--to", metavar="ARM", default="balanced", help="compared to (default: balanced)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
