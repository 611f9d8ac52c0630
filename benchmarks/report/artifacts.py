"""The report of the bundled checkpoints and of FER2013's near-duplicates."""

from .markdown import make_table
from .quality import table as quality_table
from .rows import RESULTS
from .speed import read_json

QUALITY = """\
`semantic-aug evaluate CHECKPOINT fer2013/validation --train fer2013/train --json FILE`

Class agreement, diversity and FID are of 2 000 validation images; the model cards say more."""
DIRECTIONS = """\
    python -m benchmarks.directions fer2013-48 fer2013/validation --judge judge.safetensors --images 48 \\
        --json benchmarks/results/directions.json

Images of each class, moved by one standard deviation forward and back along the leading directions of its covariance,
in mode `detail`. 1 is the difference between two real images of the class, and *same prediction* is how often the judge
predicts what it predicts for the unmoved image."""
DUPLICATES = """\
    python -m benchmarks.classification.duplicates fer2013 --train fer2013/train \\
        --held-out fer2013/validation fer2013/test --json benchmarks/results/duplicates.json"""


def make_report() -> str:
    """The whole document."""
    from benchmarks.directions import table as directions_table  # which needs torch

    quality = sorted((RESULTS / "quality").glob("*.json"))
    return (
        "\n\n".join(
            [
                "# Checkpoints and data",
                "## Quality",
                QUALITY,
                quality_table(quality),
                "## What changes along the directions of a class",
                DIRECTIONS,
                directions_table(read_json(RESULTS / "directions.json")),
                "## Near-duplicates between the splits of FER2013",
                DUPLICATES,
                table_duplicates(),
            ]
        )
        + "\n"
    )


def table_duplicates() -> str:
    """Held-out images that have a near-duplicate among the training images, by the correlation that counts as one."""
    found = read_json(RESULTS / "duplicates.json")
    splits = found["held_out"]
    thresholds = sorted((name for name in next(iter(splits.values())) if name != "images"), key=float)
    lines = [[split, str(counts["images"]), *(str(counts[t]) for t in thresholds)] for split, counts in splits.items()]
    note = (
        f"Images whose pixels correlate with those of a training image by at least so much, mirrored or not. At "
        f"{found['threshold']:g}, which is what `--dedup` uses, {found['removed']} of the {found['train']} training "
        f"images show a held-out picture."
    )
    return f"{make_table(['split', 'images', *thresholds], lines)}\n\n{note}"
