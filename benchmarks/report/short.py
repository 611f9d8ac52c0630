"""The report of the short trainings, from before the benchmark met imbalance as practitioners do."""

import statistics
from collections.abc import Callable, Sequence

from benchmarks.classification import store

from .classification import make_readings, note_of, table_figures, table_recall
from .markdown import make_table
from .rows import Group, Row

INTRODUCTION = """\
# Short trainings

Trainings of 10 to 30 epochs, most of them with class-balanced sampling. They are kept for the record. Their base is
weak: natural sampling with a post-hoc logit adjustment beats every arm here without any training, so nothing on this
page says what an augmentation is worth on top of what is free. [classification.md](classification.md) does.

*balanced* draws every class equally often, *natural* takes the images as they come, *sqrt* draws a class as often as
the root of its count. `fer2013-48` was trained on all of FER2013's training images and labels, so with FER2013 cut to a
long tail it knows more than the classifier; `fer2013-48-cut` was trained on the cut images."""
ARMS = """\
- `ours-detail`, `ours-decode`: `SemanticAugmentBatch` in these modes. `ours-randaugment`, `ours-mixup`: `ours-detail`,
  then these. `ours-nearest` moves the covariance of a rare class toward those of its neighbours.
- `ours-repeats` augments a class as often as the sampler repeats its images, so disgust with p 0.89 and the common
  classes never. What an augmentation leaves in an image then says "disgust", and the classifier reads that: see *called
  the rarest class*.
- `isotropic` has noise of one size in all directions, `pooled` one covariance for all classes, `class-gaussian` draws
  around the mean of the class."""


def make_report(groups: Sequence[Group]) -> str:
    """The whole document."""
    parts = [INTRODUCTION, ARMS]
    for group in groups:
        near = {"held-out": ", without near-duplicates", "train": ", near-duplicates left out of training", None: ""}
        parts += [f"## {group.title}{near[group.fields['dedup']]}", table_figures(group), note_of(group)]
        classes = group.runs[0]["classes"]
        for reading in make_readings(group):
            parts += [f"Recall of each class ({reading.name}):", table_recall(reading, classes)]
        if any("fitted" in run for run in group.runs):
            parts += ["Points by which it is higher on images trained on:", table_overfit(group.rows, classes)]
        if any("alarms" in run for run in group.runs):
            parts += ["Images of other classes that are called the rarest class:", table_shortcut(group.rows)]
    return "\n\n".join(parts) + "\n"


def table_overfit(rows: Sequence[Row], classes: Sequence[str]) -> str:
    """How much higher the recall of each class is on images trained on, in points, mean over seeds."""

    def subtract(run: store.Run) -> list[float]:
        return [a - b for a, b in zip(run["fitted"], run["recall"], strict=True)]

    return make_table(["arm", "seeds", *classes], _lines(rows, "fitted", subtract, "+"))


def table_shortcut(rows: Sequence[Row]) -> str:
    """How often an image of another class is called the rarest one, as it is and augmented, mean over seeds."""
    lines = _lines(rows, "alarms", lambda run: run["alarms"])
    return make_table(["arm", "seeds", "images as they are", "the same images augmented"], lines)


def _lines(
    rows: Sequence[Row], field: str, values: Callable[[store.Run], Sequence[float]], sign: str = ""
) -> list[list[str]]:
    """A line for each row, of those of its runs that have ``field``: means over seeds, in percent."""
    lines = []
    for row in rows:
        runs = [run for run in row.runs.values() if field in run]
        columns = zip(*map(values, runs), strict=True)
        if runs:
            means = [f"{100 * statistics.mean(column):{sign}.1f}" for column in columns]
            lines.append([row.label, str(len(runs)), *means])
    return lines
