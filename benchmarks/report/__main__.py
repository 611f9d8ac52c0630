"""Generate the reports from the stored results of the benchmarks: python -m benchmarks.report [--check]

Writes ``benchmarks/reports/*.md`` and their figures. If a document has a generated block, its text is written too:

    <!-- report: NAME -->
    <!-- end of report -->

``--check`` writes nothing. It fails if a report or a block does not match the stored results, or if a figure in the
README, the docs or a model card differs from the stored one (``claims``).
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.classification import store

from . import artifacts, classification, expansion, forest, quality, screens, short, speed
from .claims import ROOT, check_claims, collect_claims
from .markdown import fill_block
from .rows import group_runs, read_short

REPORTS = ROOT / "benchmarks" / "reports"
DOCUMENTS = ("README.md", "benchmarks/README.md", "checkpoints/*/README.md", "docs/*.md")
MAKE = "run python -m benchmarks.report to update it"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check everything. Returns 0, or 1 if something is out of date, or 2 if something is rejected."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, and fail if something is out of date")
    parser.add_argument("--results", metavar="FILE", type=Path, default=store.RESULTS, help="classification results")
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
    """Make reports, figures and blocks, and write them or compare them with the files.

    Returns a message for everything that is out of date.
    """
    groups = group_runs(store.read(results))
    stale = make_reports(groups, output, write=write) + make_figures(groups, output, write=write)
    stale += make_blocks(groups, write=write)
    for name, claims in collect_claims().items():
        for claim in check_claims((ROOT / name).read_text(encoding="utf-8"), claims):
            stale.append(f"{name} does not have the stored figures; it must contain:\n{claim}\n")
    return stale


def make_reports(groups: Sequence[classification.Group], output: Path, *, write: bool) -> list[str]:
    """Write or check ``benchmarks/reports/*.md``."""
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
            stale.append(f"{path} does not match the stored results; {MAKE}")
    return stale


def make_figures(groups: Sequence[classification.Group], output: Path, *, write: bool) -> list[str]:
    """Write or check the forest plots.

    Each file contains a description of its content. A plot is drawn again only if the content changes, and not for
    different fonts.
    """
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
    """Write or check the generated block of each document that has one."""
    blocks: dict[str, Callable[[], str]] = {
        "summary": lambda: classification.make_summary(groups),
        "agreement": quality.make_agreement,
        "ways": speed.make_ways,
    }
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
            stale.append(f"the generated block of {path} does not match the stored results; {MAKE}")
    return stale


if __name__ == "__main__":
    sys.exit(main())
