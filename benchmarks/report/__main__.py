"""Reports, made whole from what the benchmarks stored: python -m benchmarks.report [--check]

Writes ``benchmarks/reports/*.md`` and their figures, and fills in the generated block of a document, if it has one:

    <!-- report: NAME -->
    <!-- end of report -->

``--check`` writes nothing. It fails where a report or a block is not what the stored lines give, and where a figure in
README, docs or a model card is not the stored one (``claims``).
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.classification import store

from . import artifacts, classification, expansion, forest, screens, short, speed
from .claims import ROOT, check_claims, collect_claims
from .markdown import fill_block
from .rows import group_runs, read_short

REPORTS = ROOT / "benchmarks" / "reports"
DOCUMENTS = ("README.md", "benchmarks/README.md", "checkpoints/*/README.md", "docs/*.md")
MAKE = "python -m benchmarks.report makes it so"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check everything; 0, 1 where something is stale, and 2 where something is refused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, and fail where something is stale")
    parser.add_argument("--results", metavar="FILE", type=Path, default=store.RESULTS, help="of the classification")
    parser.add_argument("--output", metavar="DIR", type=Path, default=REPORTS)
    options = parser.parse_args(arguments)
    try:
        stale = make_all(options.results, options.output, write=not options.check)
    except (ValueError, OSError) as error:
        print(f"report: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    for line in stale:
        print(line)
    return 1 if stale else 0


def make_all(results: Path, output: Path, *, write: bool) -> list[str]:
    """Make reports, figures and blocks, and write them or compare them with what is there; lines on what is stale."""
    groups = group_runs(store.read(results))
    stale = make_reports(groups, output, write=write) + make_figures(groups, output, write=write)
    stale += make_blocks(groups, write=write)
    for name, claims in collect_claims().items():
        for claim in check_claims((ROOT / name).read_text(encoding="utf-8"), claims):
            stale.append(f"{name} does not have the stored figures; it must say:\n{claim}\n")
    return stale


def make_reports(groups: Sequence[classification.Group], output: Path, *, write: bool) -> list[str]:
    """``benchmarks/reports/*.md``."""
    reports = {
        "classification": classification.make_report(groups),
        "classification-short": short.make_report(group_runs(read_short())),
        "speed": speed.make_report(),
        "expansion": expansion.make_report(),
        "artifacts": artifacts.make_report(),
        "screens": screens.make_report(),
    }
    stale = []
    output.mkdir(parents=True, exist_ok=True)
    for name, text in reports.items():
        path = output / f"{name}.md"
        if write:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(f"{path} is not what the stored lines give; {MAKE}")
    return stale


def make_figures(groups: Sequence[classification.Group], output: Path, *, write: bool) -> list[str]:
    """The forest plots, each of which carries what it shows, so that none is drawn anew for other fonts."""
    stale = []
    for group in groups:
        points = classification.forest_points(group)
        if not points:
            continue
        path, title = output / classification.figure_name(group), classification.forest_title(group)
        if forest.read_description(path) == forest.describe(points, title):
            continue
        if write:
            forest.draw(points, title, path)
        else:
            stale.append(f"{path} does not show the stored figures; {MAKE}")
    return stale


def make_blocks(groups: Sequence[classification.Group], *, write: bool) -> list[str]:
    """The generated block of each document that has one."""
    blocks: dict[str, Callable[[], str]] = {"summary": lambda: classification.make_summary(groups)}
    stale = []
    for path in sorted(path for pattern in DOCUMENTS for path in ROOT.glob(pattern)):
        document = path.read_text(encoding="utf-8")
        try:
            made = fill_block(document, blocks)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        if made != document and write:
            path.write_text(made, encoding="utf-8")
        elif made != document:
            stale.append(f"the block of {path} is not what the stored lines give; {MAKE}")
    return stale


if __name__ == "__main__":
    sys.exit(main())
