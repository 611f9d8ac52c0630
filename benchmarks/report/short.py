"""The report on the short trainings, from before the benchmark handled imbalance in the ways practitioners use."""

import statistics
from collections.abc import Callable, Sequence

from benchmarks.classification import store

from .classification import make_readings, note_of, table_figures, table_recall
from .markdown import make_table
from .rows import Group, Row

INTRODUCTION = """\
# Short trainings

These trainings took 10 to 30 epochs, most of them with class-balanced sampling. They are kept for the record. Their
baseline is weak. Natural sampling with a post-hoc logit adjustment needs no extra training and beats every arm on this
page. The results here therefore do not show what an augmentation adds to methods that cost nothing.
[classification.md](classification.md) shows that.

*balanced* draws every class equally often. *natural* does not balance the classes. *sqrt* draws a class in proportion
to the square root of its number of images. The checkpoints are the first ones, with a vector of 128 values as their
latent, and not those of today. `fer2013-48` was trained on all training images and labels of FER2013. In the runs with
FER2013 cut to a long tail, it therefore knows more than the classifier. `fer2013-48-cut` was trained on the cut
images."""
ARMS = """\
- `ours-detail` and `ours-decode` are `SemanticAugmentBatch` in these modes. `ours-randaugment` and `ours-mixup` apply
  `ours-detail` first and then RandAugment or MixUp. `ours-nearest` moves the covariance of a rare class toward those of
  its neighbours.
- `ours-repeats` augments a class as often as the sampler repeats its images. It augments disgust with p 0.89 and the
  common classes never. The traces of the augmentation in an image then indicate "disgust", and the classifier learns to
  use them. See the tables of images that are classified as the rarest class.
- `isotropic` uses noise of the same size in all directions. `pooled` uses one covariance for all classes.
  `class-gaussian` draws around the mean of the class."""


def make_report(groups: Sequence[Group]) -> str:
    """Return the text of the report."""
    parts = [INTRODUCTION, ARMS]
    for group in groups:
        near = {"held-out": ", without near-duplicates", "train": ", near-duplicates removed from training", None: ""}
        parts += [f"## {group.title}{near[group.fields['dedup']]}", table_figures(group), note_of(group)]
        classes = group.runs[0]["classes"]
        for reading in make_readings(group):
            parts += [f"Recall of each class ({reading.name}):", table_recall(reading, classes)]
        if any("fitted" in run for run in group.runs):
            parts += ["Recall on training images minus recall on held-out images, in points:"]
            parts += [table_overfit(group.rows, classes)]
        if any("alarms" in run for run in group.runs):
            parts += ["Images of other classes that are classified as the rarest class, in percent:"]
            parts += [table_shortcut(group.rows)]
    return "\n\n".join(parts) + "\n"


def table_overfit(rows: Sequence[Row], classes: Sequence[str]) -> str:
    """Recall of each class on training images minus that on held-out images, in points, mean over seeds."""
    return make_table(["arm", "seeds", *classes], _lines(rows, "fitted", memorised, "+"))


def memorised(run: store.Run) -> list[float]:
    """Recall of each class on training images minus that on held-out images, as fractions."""
    return [a - b for a, b in zip(run["fitted"], run["recall"], strict=True)]


def table_shortcut(rows: Sequence[Row]) -> str:
    """How often images of other classes are classified as the rarest class, as they are and augmented.

    Means over seeds, in percent.
    """
    lines = _lines(rows, "alarms", lambda run: run["alarms"])
    return make_table(["arm", "seeds", "images as they are", "the same images augmented"], lines)


def _lines(
    rows: Sequence[Row], field: str, values: Callable[[store.Run], Sequence[float]], sign: str = ""
) -> list[list[str]]:
    """A line for each row with means over seeds, in percent. Only runs that have ``field`` are used."""
    lines = []
    for row in rows:
        runs = [run for run in row.runs.values() if field in run]
        columns = zip(*map(values, runs), strict=True)
        if runs:
            means = [f"{100 * statistics.mean(column):{sign}.1f}" for column in columns]
            lines.append([row.label, str(len(runs)), *means])
    return lines
