"""The report on the bundled checkpoints and on the near-duplicates in FER2013."""

from .markdown import make_table
from .quality import table as quality_table
from .rows import RESULTS
from .speed import read_json

QUALITY = """\
`semantic-aug evaluate CHECKPOINT fer2013/validation --train fer2013/train --json FILE`

Class agreement, diversity and FID are measured on 2 000 validation images. The model cards have more details."""
DIRECTIONS = """\
    python -m benchmarks.directions fer2013-48 fer2013/validation --judge judge.safetensors --images 48 \\
        --json benchmarks/results/directions.json

Images of each class are moved by one standard deviation forward and back along the leading directions of the class
covariance, in mode `detail`. The columns from *brightness* to *class logit* show the change between the two results,
where 1 is the difference between two real images of the class. *same prediction* is how often the judge predicts the
same class as for the original image."""
DUPLICATES = """\
    python -m benchmarks.classification.duplicates fer2013 --train fer2013/train \\
        --held-out fer2013/validation fer2013/test --json benchmarks/results/duplicates.json"""


def make_report() -> str:
    """Return the text of the report."""
    from benchmarks.directions import table as directions_table  # needs torch

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
    """Number of held-out images with a near-duplicate among the training images, for each correlation threshold."""
    found = read_json(RESULTS / "duplicates.json")
    splits = found["held_out"]
    thresholds = sorted((name for name in next(iter(splits.values())) if name != "images"), key=float)
    lines = [[split, str(counts["images"]), *(str(counts[t]) for t in thresholds)] for split, counts in splits.items()]
    note = (
        f"The table counts the images whose correlation with a training image, mirrored or not, is at least the number "
        f"at the top of the column. `--dedup` uses {found['threshold']:g}. At this threshold {found['removed']} of the "
        f"{found['train']} training images show a held-out picture."
    )
    return f"{make_table(['split', 'images', *thresholds], lines)}\n\n{note}"
