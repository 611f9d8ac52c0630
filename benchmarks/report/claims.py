"""Sentences and tables with stored figures that documents outside the reports must contain.

The rest of a document is free, and line breaks and the number of spaces do not matter. If the stored figures change,
``--check`` prints the text that a document must contain instead.
"""

import statistics
from pathlib import Path
from typing import Any

from benchmarks.classification import store

from .classification import choose_groups, figures_of, main_reading
from .intervals import compare
from .markdown import group_digits
from .rows import RESULTS, Group, group_runs, read_short
from .screens import read_screens, table_plane
from .short import memorised
from .speed import read_json

CHOOSING = ("| images", "| real", "| RandAugment", "| detail covariance 0.35", "| detail covariance 0.8")
ROOT = Path(__file__).parents[2]


def collect_claims() -> dict[str, list[str]]:
    """Return the texts that each document must contain."""
    duplicates = read_json(RESULTS / "duplicates.json")["held_out"]["test"]
    cut = find_short(data="fer2013", split="test", dedup="held-out", epochs=20)
    ways = read_json(RESULTS / "ways.json")["ways"]
    batch, randaugment = ways["batch, in the training process"], ways["RandAugment, per sample"]
    balanced = next(row for row in cut.rows if row.label == "balanced")
    gaps = [100 * statistics.mean(each) for each in zip(*map(memorised, balanced.runs.values()), strict=True)]
    judge = read_json(RESULTS / "quality" / "fer2013-48.json")["judge"]["accuracy"]
    claims = {
        "README.md": [
            f"adds [{100 * batch['bfloat16']['share_of_step']:.1f} % to",
            f"and {100 * batch['float32']['share_of_step']:.1f} % in float32",
            f"RandAugment adds {100 * randaugment['float32']['share_of_step']:.1f} %",
            *compare_with_controls(),
        ],
        "docs/troubleshooting.md": [
            f"In FER2013 {duplicates['0.92']} of the {group_digits(duplicates['images'])} test images have a "
            f"near-duplicate"
        ],
        "docs/choosing.md": [
            f"the recall of the rarest class was {gaps[-1]:.0f} points higher on training images after 20 epochs "
            f"with class-balanced sampling, and that of the most common class {gaps[0]:.0f} points"
        ],
        "checkpoints/fer2013-48/README.md": [f"right on {judge:.1%} of all of `validation`"],
    }
    for line in read_screens():  # the plane of a checkpoint stands in its card
        card = f"checkpoints/{line['checkpoint']}/README.md"
        if (ROOT / card).exists():
            images = f"for {line['plane']['images']} images and two judges"
            claims.setdefault(card, []).extend([images, table_plane(line["plane"])])
        if line["checkpoint"] == "fer2013-48":
            rows = table_plane(line["plane"]).splitlines()
            claims["docs/choosing.md"] += [row for row in rows if row.startswith(CHOOSING)]
    return claims


def check_claims(document: str, claims: list[str]) -> list[str]:
    """Return the claims that are missing in the document."""
    text = " ".join(document.split())
    return [claim for claim in claims if " ".join(claim.split()) not in text]


def compare_with_controls() -> list[str]:
    """Return what the README must say of ours, compared with the same arm without it, if there are several seeds."""
    claims = []
    for group in choose_groups(group_runs(store.read(store.RESULTS))):
        reading = main_reading(group)
        ours, reference = reading.best_with(), reading.reference()
        if ours is None or reference is None or len(ours.runs) == 1:
            continue
        *first, last = (
            f"{compare(ours, reference, figure, reading.adjusted)} in {name}"
            for figure, name in figures_of(group).items()
        )
        claims.append(f"{', '.join(first)} and {last}")
        if group.fields["data"] == "fer2013":
            claims.append(f"Only {min(group.runs[0]['measured_counts'])} of the test images show disgust")
    return claims


def find_short(**fields: Any) -> Group:
    """Return the only group of short trainings with these fields. Raises ValueError if there is not exactly one."""
    groups = [
        group
        for group in group_runs(read_short())
        if all(group.fields[name] == value for name, value in fields.items())
    ]
    if len(groups) != 1:
        raise ValueError(f"expected one group of short trainings with {fields}, but there are {len(groups)}")
    return groups[0]
