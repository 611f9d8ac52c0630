"""Tables, figures and numbers in prose, made from the stored runs: python -m benchmarks.report (see --help)

A document asks for them by markers, between which this program writes and nobody else:

    <!-- runs: table classifier=resnet34 base=flip-crop stage=report -->
    <!-- runs end -->

The first word is the kind: ``table`` (all arms, with their differences to ``balanced`` and ``none``), ``recall`` (per
class), ``overfit`` (how much higher that is on images trained on), ``shortcut`` (how often an image of another class is
called the rarest, augmented or not), ``gains`` (the differences to ``balanced`` alone), ``paper`` (the paper's figures
beside ours), ``forest`` (differences with their intervals, drawn in characters; it may have ``figure=`` and ``to=``),
``difference`` (one of them, to stand in a sentence; it needs ``arm=`` too) or ``mean`` (one number). The others are
fields of a run, or of its settings, and the values that they must have where an arm has them. Other measurements are
read from JSON files, a value with spaces in it in quotes (``"device=NVIDIA H200"``):

    <!-- runs: quality files=benchmarks/results/quality/fer2013-48.json --> (several with commas between them)
    <!-- runs: directions file=benchmarks/results/directions.json -->
    <!-- runs: expanded file=benchmarks/results/expand.jsonl -->
    <!-- runs: expanded-difference file=benchmarks/results/expand.jsonl arm=expanded to=unbalanced --> (for a sentence)
    <!-- runs: speed file=benchmarks/results/throughput.jsonl kind=augmentation -->
    <!-- runs: value file=checkpoints/fer2013-48/config.json key=reconstruction/l1_mean format=.4f --> (for a sentence)

``--check`` fails where what stands between two markers is not what is stored.
"""

import argparse
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.classification import store
from benchmarks.report import forest
from benchmarks.report.file_tables import FILES, ROOT
from benchmarks.report.rows import FIGURES, IDENTITY, NOTHING, select
from benchmarks.report.run_tables import IN_PROSE, KINDS, recall, table, titled

DOCUMENTS = ["README.md", "benchmarks/README.md", "checkpoints/*/README.md", "docs/*.md"]  # of --check and --write
SHORT = store.RESULTS.with_name("classification-short.jsonl")
BLOCK = re.compile(r"(<!-- runs: (.*?) -->)(.*?)(<!-- runs end -->)", re.DOTALL)


def block(text: str, runs: Sequence[store.Run]) -> str:
    """The content between two markers, of which the first says ``text``."""
    kind, *parts = shlex.split(text)
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
    """A document with the content between its markers renewed. Raises ValueError for unpaired markers."""
    if document.count("<!-- runs:") != len(BLOCK.findall(document)):
        raise ValueError("a marker 'runs: ...' has no 'runs end' after it, or one too many stands before that")
    return BLOCK.sub(lambda found: found[1] + block(found[2], runs) + found[4], document)


def stale(document: str, runs: Sequence[store.Run]) -> list[str]:
    """The markers whose content differs from what the stored runs give."""
    found, made = BLOCK.findall(document), BLOCK.findall(filled(document, runs))
    return [old[1] for old, new in zip(found, made, strict=True) if old[2] != new[2]]


def draw(runs: Sequence[store.Run], to: str, figure: str, path: Path | None) -> None:
    """Draw to ``path``, or print as text if there is no path or no matplotlib."""
    title, points = titled(runs, to, figure)
    if path is not None:
        try:
            forest.picture(points, title, path)
            return
        except ModuleNotFoundError:
            print(f"matplotlib is not there (extra bench): as text, {path} is not written", file=sys.stderr)
    print(f"{title}\n{forest.text(points)}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print, write or check. Returns 0, 1 if a document is stale, or 2 if something is refused."""
    options = _parser().parse_args(arguments)
    try:
        return _main(options)
    except (ValueError, OSError) as error:
        print(f"tables: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def _main(options: argparse.Namespace) -> int:
    runs = store.read(options.results, (*IDENTITY, *store.FIGURES))
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
    add("--results", metavar="FILE", type=Path, default=SHORT)
    add("--write", metavar="FILE", nargs="*", help="fill in the markers (default: README, benchmarks, cards, docs)")
    add("--check", metavar="FILE", nargs="*", help="fail where --write would change something")
    add("--forest", action="store_true", help="a forest plot of the runs")
    add("--output", metavar="PNG", type=Path, help="where to draw it (default: print it)")
    add("--figure", choices=tuple(FIGURES), default="mAP", help="default: mAP")
    add("--to", metavar="ARM", default="balanced", help="compared to (default: balanced)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
