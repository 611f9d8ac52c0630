"""Sentences and tables with stored figures that documents outside the reports must contain.

The rest of a document is free, and line breaks and the number of spaces do not matter. If the stored figures change,
``--check`` prints the text that a document must contain instead.
"""

import statistics
from pathlib import Path
from typing import Any

from .intervals import compare
from .quality import table as quality_table
from .rows import RESULTS, Group, group_runs, read_short
from .short import memorised
from .speed import read_json

ROOT = Path(__file__).parents[2]


def collect_claims() -> dict[str, list[str]]:
    """Return the texts that each document must contain."""
    duplicates = read_json(RESULTS / "duplicates.json")["held_out"]["test"]
    cut = find_short(data="fer2013", split="test", dedup="held-out", epochs=20)
    whole = find_short(data="fer2013", split="test", dedup="held-out", epochs=10)
    fashion = find_short(data="fashion-mnist", split="test")
    faces, clothes = (
        read_json(ROOT / "checkpoints" / name / "config.json") for name in ("fer2013-48", "fashion-mnist-32")
    )
    own = "ours-detail (checkpoint fer2013-48)"
    batch = read_json(RESULTS / "ways.json")["ways"]["batch, in the training process"]
    balanced = next(row for row in cut.rows if row.label == "balanced")
    gaps = [100 * statistics.mean(each) for each in zip(*map(memorised, balanced.runs.values()), strict=True)]
    judge = read_json(RESULTS / "quality" / "fer2013-48.json")["judge"]["accuracy"]
    return {
        "README.md": [
            f"adds [{100 * batch['bfloat16']['share_of_step']:.1f} % to",
            f"and {100 * batch['float32']['share_of_step']:.1f} % in float32",
            f"| {show_seen(faces)} | 1 CPU core, 1.9 h | {show_losses(faces, ', ')} |",
            f"| {show_seen(clothes)} | 1 CPU core, 25 min | {show_losses(clothes, ', ')} |",
        ],
        "docs/troubleshooting.md": [
            f"In FER2013 {duplicates['0.92']} of the {group_digits(duplicates['images'])} test images have a "
            f"near-duplicate"
        ],
        "docs/choosing.md": [
            f"the recall of the rarest class was {gaps[-1]:.0f} points higher on training images after 20 epochs "
            f"with class-balanced sampling, and that of the most common class {gaps[0]:.0f} points"
        ],
        "checkpoints/fer2013-48/README.md": [
            f"{show_seen(faces)} images seen",
            f"right on {judge:.1%} of all of `validation`",
            quality_table([RESULTS / "quality" / f"{name}.json" for name in ("first-candidate", "fer2013-48")]),
            f"With FER2013 cut to an imbalance of 100, it gains {gain(cut, own)} points",
            f"With all of FER2013 it gains {gain(whole, 'ours-detail')} (test images",
        ],
        "checkpoints/fashion-mnist-32/README.md": [
            f"{show_seen(clothes)} images seen",
            f"L1 on [-1, 1] {show_losses(clothes, ', LPIPS (SqueezeNet) ')}.",
            f"gains {gain(fashion, 'ours-detail')} points of accuracy",
            f"With RandAugment it gains {gain(fashion, 'randaugment')}.",
        ],
    }


def check_claims(document: str, claims: list[str]) -> list[str]:
    """Return the claims that are missing in the document."""
    text = " ".join(document.split())
    return [claim for claim in claims if " ".join(claim.split()) not in text]


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


def gain(group: Group, label: str) -> str:
    """Accuracy of a row minus that of the arm ``balanced``, with its interval."""
    rows = {row.label: row for row in group.rows}
    return str(compare(rows[label], rows["balanced"], "accuracy"))


def show_seen(config: dict[str, Any]) -> str:
    """Number of images that the training of a checkpoint saw."""
    return group_digits(config["training"]["images_seen"])


def show_losses(config: dict[str, Any], between: str) -> str:
    """L1 and LPIPS on held-out images."""
    return "{l1_mean:.4f}{between}{lpips_mean:.4f}".format(between=between, **config["reconstruction"])


def group_digits(number: int) -> str:
    """Format a number with spaces between groups of three digits."""
    return f"{number:,}".replace(",", " ")
