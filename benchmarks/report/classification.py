"""The report on the classification benchmark, generated from its stored results."""

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.classification.arms import OURS, PARTS
from benchmarks.classification.protocol import AT_THE_END
from benchmarks.classification.randaugment import MAGNITUDE

from .forest import Point
from .intervals import bootstrap, compare, mean_sd
from .markdown import group_digits, make_table
from .rows import Group, Row

FIGURES = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "mAP": "mAP"}
GROUPS = ("many", "medium", "few")
NOTHING = "Not measured yet."
INTRODUCTION = f"""\
Every run trains one classifier from scratch. Runs with the same seed start from the same weights and see the same
number of images in the same number of steps, so differences are paired by seed.

- The first column shows how a run handles class imbalance. *natural* is cross-entropy, with every image once per epoch.
  *natural, adjusted* applies a post-hoc logit adjustment (tau 1, [Menon et al. 2021]) to the same networks.
  *logit-adjusted* is the balanced softmax. *balanced* draws every class equally often. *drw* weights the classes in the
  last fifth of the training.
- *none* is only the base augmentation, a flip and a shift, which every arm has. `a+b` applies a and then b. `a/b`
  shows two views of each image, with a loss that pulls their features together. *clean_epochs* is the number of last
  epochs in which an arm uses the base augmentation alone, and *real_epochs* of those in which it leaves out ours alone.
- If an arm was run with several values of a setting, its rows name those that are not the default. The defaults are
  magnitude {MAGNITUDE}, redraw {OURS["redraw"]}, perturbation {OURS["perturbation"]}, and 0 for *clean_epochs* and
  *real_epochs*.
- *ours* is `SemanticAugmentBatch` with latents from a cache. The checkpoint was trained on the same images and labels
  as the classifier, unless the row says otherwise.
- Figures are in percent. For several seeds they are mean ± standard deviation. mAP comes from the unadjusted scores.
  *many* and *few* are the mean recall of the third of the classes with the most training images, and of the third with
  the fewest. *medium* is the mean recall of the other classes. ECE is the expected calibration error with 15 bins.
- A long tail is cut in the order of the classes, so the first class stays whole and the last has the fewest images.
- Differences have 95 % t intervals over seeds, which need at least two seeds. *over images* is a 95 % bootstrap
  interval of the difference in balanced accuracy over held-out images, for fixed trained networks.

[Menon et al. 2021]: https://arxiv.org/abs/2007.07314"""


@dataclass(frozen=True)
class Reading:
    """The rows of one base, with their predictions as they are or adjusted."""

    base: str
    adjusted: bool
    rows: Sequence[Row]

    @property
    def name(self) -> str:
        """The name in tables."""
        return f"{self.base}, adjusted" if self.adjusted else self.base

    def best_without(self) -> Row | None:
        """The row with the best balanced accuracy, among the rows without a checkpoint that have the most seeds."""
        return self._best([row for row in self.rows if not uses_checkpoint(row)])

    def best_with(self) -> Row | None:
        """The row with the best balanced accuracy, among the rows with a checkpoint that have the most seeds."""
        return self._best([row for row in self.rows if uses_checkpoint(row)])

    def _best(self, rows: Sequence[Row]) -> Row | None:
        most = max((len(row.runs) for row in rows), default=0)
        full = [row for row in rows if len(row.runs) == most]
        return max(full, key=self.mean, default=None)

    def mean(self, row: Row, figure: str = "balanced_accuracy") -> float:
        """The mean of a figure of a row in percent."""
        return statistics.mean(row.values(figure, self.adjusted))

    def control(self, row: Row) -> Row | None:
        """The row that differs from ``row`` only in not using the checkpoint."""
        arm = strip_checkpoint(row.arm)
        alike = [
            other
            for other in self.rows
            if other.arm == arm and all(row.settings.get(name) == value for name, value in other.settings.items())
        ]
        return alike[0] if alike else None

    def reference(self) -> Row | None:
        """The control of the best row with a checkpoint, or the best row without one."""
        ours = self.best_with()
        return (self.control(ours) if ours else None) or self.best_without()


def uses_checkpoint(row: Row) -> bool:
    """Whether the arm of a row uses a checkpoint."""
    return "fingerprint" in row.settings


def strip_checkpoint(arm: str) -> str:
    """The name of an arm without the parts that use a checkpoint."""
    views = []
    for view in arm.split("/"):
        parts = [part for part in view.split("+") if not (part in PARTS and PARTS[part].uses_checkpoint)]
        views.append("+".join(parts) or "none")
    return "/".join(views)


def make_readings(group: Group) -> list[Reading]:
    """A reading of each base as it is, and an adjusted one of natural sampling if it was measured and is different."""
    readings = []
    skewed = not is_balanced(group, "counts")
    for base in dict.fromkeys(row.base for row in group.rows):
        rows = [row for row in group.rows if row.base == base]
        readings.append(Reading(base, False, rows))
        if base == "natural" and skewed and all("adjusted" in run for row in rows for run in row.runs.values()):
            readings.append(Reading(base, True, rows))
    return readings


def is_balanced(group: Group, counts: str) -> bool:
    """Whether all classes have the same number of images: "counts" of training, or "measured_counts"."""
    return all(len(set(run.get(counts, (0, 1)))) == 1 for run in group.runs)


def figures_of(group: Group) -> dict[str, str]:
    """The figures of a group and their names, without the balanced accuracy if it is the same as the accuracy."""
    same = is_balanced(group, "measured_counts")
    return {figure: name for figure, name in FIGURES.items() if not (same and figure == "balanced_accuracy")}


def main_reading(group: Group) -> Reading:
    """The reading of natural sampling with logit adjustment, or the first reading if that was not measured."""
    readings = make_readings(group)
    return next((reading for reading in readings if reading.adjusted), readings[0])


def make_report(groups: Sequence[Group]) -> str:
    """Return the text of the report."""
    parts = ["# Classification", INTRODUCTION]
    shown = [group for group in groups if group.fields["classifier"] not in ("resnet34", "dan")]
    for group in shown:
        parts += [f"## {group.title}", describe_group(group, groups)]
    parts += ["## Are the runs long enough?", table_lengths(groups)]
    parts += ["## The paper's Table I", table_paper(groups)]
    return "\n\n".join(parts) + "\n"


def make_summary(groups: Sequence[Group]) -> str:
    """The table for the front page: no augmentation, the best arms with and without a checkpoint, and the control.

    It shows one group of each data set, on test images if there are any. Of several groups it is that with the most
    seeds. Of these it is that in which the best arm without a checkpoint does best, so that the arms are compared at
    the length that suits this one.
    """
    lines = []
    for group in choose_groups(groups):
        reading = main_reading(group)
        none = next((row for row in reading.rows if row.arm == "none"), None)
        title = group.title
        for row in unique_rows(none, reading.reference(), reading.best_without(), reading.best_with()):
            cells = [mean_sd(row.values(figure, reading.adjusted)) for figure in FIGURES]
            lines.append([title, row.label, str(len(row.runs)), *cells])
            title = ""
    return f"{make_table(['', 'arm', 'seeds', *FIGURES.values()], lines)}\n" if lines else f"{NOTHING}\n"


def choose_groups(groups: Sequence[Group]) -> list[Group]:
    """One group of each data set, as ``make_summary`` says."""

    def rank(group: Group) -> tuple[bool, int, float]:
        reading = main_reading(group)
        best = reading.best_without()
        seeds, mean = (len(best.runs), reading.mean(best)) if best else (0, 0.0)
        return group.fields["split"] == "test", seeds, mean

    found: dict[tuple[str, float], list[Group]] = {}
    for group in groups:
        found.setdefault((group.fields["data"], group.fields["imbalance"]), []).append(group)
    return [max(alike, key=rank) for alike in found.values()]


def unique_rows(*rows: Row | None) -> list[Row]:
    """The rows without None, each once."""
    return list({row.label: row for row in rows if row is not None}.values())


def describe_group(group: Group, groups: Sequence[Group] = ()) -> str:
    """All tables of one group, and its figure. The validation runs that choose a tau are looked up in ``groups``."""
    reading = main_reading(group)
    parts = [table_figures(group), note_of(group)]
    if forest_points(group):
        parts += [f"![{forest_title(group)}]({figure_name(group)})", "Differences:", table_differences(group)]
    if reading.adjusted and (taus := table_taus(group, groups)):
        parts += ["Natural sampling, adjusted with the tau that was best on validation images:", taus]
    parts += [f"Recall of each class ({reading.name}):", table_recall(reading, group.runs[0]["classes"])]
    return "\n\n".join(parts)


def table_figures(group: Group) -> str:
    """Accuracy, balanced accuracy and mAP of every row and reading, and other figures that all runs have."""
    thirds = () if is_balanced(group, "counts") else GROUPS
    extra = [name for name in (*thirds, "ece") if all(name in run for run in group.runs)]
    head = [
        "imbalance handled by",
        "arm",
        "seeds",
        *FIGURES.values(),
        *(name.upper() if name == "ece" else name for name in extra),
    ]
    lines = []
    for reading in make_readings(group):
        for row in reading.rows:
            cells = [mean_sd(row.values(figure, reading.adjusted)) for figure in FIGURES]
            cells += [f"{statistics.mean(row.values(name, reading.adjusted)):.1f}" for name in extra]
            lines.append([reading.name, row.label, str(len(row.runs)), *cells])
    return make_table(head, lines)


def note_of(group: Group) -> str:
    """A note on the data and the settings behind the figures of a group."""
    runs, fields = group.runs, group.fields
    without = {
        "held-out": " Near-duplicates of training images were removed from the held-out images.",
        "train": " Near-duplicates of held-out images were removed from the training images.",
        None: "",
    }[fields["dedup"]]
    devices = sorted({f"{run['device']}, torch {run['versions']['torch']}" for run in runs})
    counts = measured = ""
    if "counts" in runs[0]:
        named = zip(runs[0]["counts"], runs[0]["classes"], strict=True)
        counts = f" ({', '.join(f'{count} {name}' for count, name in named)})"
    if "measured" in runs[0]:
        measured = f", evaluated on {group_digits(runs[0]['measured'])}"
    if "measured_counts" in runs[0]:
        rarest, name = min(zip(runs[0]["measured_counts"], runs[0]["classes"], strict=True))
        measured += f", {rarest} of them {name}"
    return (
        f"Trained on {group_digits(runs[0]['images'])} images{counts}{measured}.{without} "
        f"Image size {fields['settings']['size']}, batch size {fields['settings']['batch']}, {'; '.join(devices)}."
    )


def table_differences(group: Group) -> str:
    """Every row minus the best row without a checkpoint, and every row with a checkpoint minus its control."""
    head = ["imbalance handled by", "arm", "minus", "seeds", "accuracy", "balanced accuracy", "over images", "mAP"]
    lines = []
    for reading in make_readings(group):
        best = reading.best_without()
        for row in reading.rows:
            control = reading.control(row) if uses_checkpoint(row) else None
            for other in dict.fromkeys(each.label for each in (best, control) if each not in (None, row)):
                base = next(each for each in (best, control) if each is not None and each.label == other)
                lines.append([reading.name, row.label, other, *difference_cells(row, base, reading.adjusted)])
    return make_table(head, [line for line in lines if line[3] != "0"])


def difference_cells(row: Row, other: Row, adjusted: bool) -> list[str]:
    """The number of seeds and the differences of one pair of rows."""
    found = {figure: compare(row, other, figure, adjusted) for figure in FIGURES}
    accuracy = found["accuracy"]
    if accuracy is None:
        return ["0", "", "", "", ""]
    images = ""
    if all("correct" in run for each in (row, other) for run in each.runs.values()):
        interval = bootstrap(row, other, "balanced_accuracy", adjusted)
        images = f"[{interval[0]:+.2f}, {interval[1]:+.2f}]" if interval else ""
    return [
        str(accuracy.seeds), str(accuracy), str(found["balanced_accuracy"]), images, str(found["mAP"]),
    ]  # fmt: skip


def table_taus(group: Group, groups: Sequence[Group]) -> str:
    """Rows of natural sampling, adjusted with the tau that has the best balanced accuracy on validation images.

    Returns "" if there are no such rows.
    """
    lines = []
    for row in group.rows:
        if tuned := tune(row, group, groups):
            tau, *columns = tuned
            lines.append([row.label, str(len(row.runs)), tau, *map(mean_sd, columns)])
    return make_table(["arm", "seeds", "tau", "accuracy", "balanced accuracy"], lines) if lines else ""


def tune(row: Row, group: Group, groups: Sequence[Group]) -> tuple[str, list[float], list[float]] | None:
    """The best tau for a row of ``group``, and accuracy and balanced accuracy with it in percent, for each seed.

    The same row of the validation runs in ``groups`` chooses it. None if there is no such row.
    """
    if row.base != "natural" or not all("taus" in run for run in row.runs.values()):
        return None
    wanted = {**group.fields, "split": "validation"}
    same = (row.base, row.arm, row.settings)
    for chooser in (each for other in groups if other.fields == wanted for each in other.rows):
        if (chooser.base, chooser.arm, chooser.settings) == same:
            tau = best_tau(chooser)
            pairs = [run["taus"][tau] for run in row.runs.values()]
            return tau, [100 * accuracy for accuracy, _ in pairs], [100 * balanced for _, balanced in pairs]
    return None


def best_tau(row: Row) -> str:
    """The tau at which a row has the best mean balanced accuracy over seeds."""
    taus = next(iter(row.runs.values()))["taus"]
    return max(taus, key=lambda tau: statistics.mean(run["taus"][tau][1] for run in row.runs.values()))


def table_recall(reading: Reading, classes: Sequence[str]) -> str:
    """The mean recall of each class over seeds, in percent."""
    lines = []
    for row in reading.rows:
        recalls = [(run["adjusted"] if reading.adjusted else run)["recall"] for run in row.runs.values()]
        means = [f"{100 * statistics.mean(column):.1f}" for column in zip(*recalls, strict=True)]
        lines.append([row.label, str(len(row.runs)), *means])
    return make_table(["arm", "seeds", *classes], lines)


def forest_points(group: Group) -> list[Point]:
    """Every row of the main reading minus the reference, from best to worst balanced accuracy."""
    reading = main_reading(group)
    reference = reading.reference()
    points: list[tuple[float, Point]] = []
    for row in reading.rows:
        if reference is None or row is reference:
            continue
        found = {figure: compare(row, reference, figure, reading.adjusted) for figure in FIGURES}
        panels = {
            name: (difference, f"{reading.mean(row, figure):.1f}")
            for figure, name in figures_of(group).items()
            if (difference := found[figure]) is not None
        }
        if panels and (balanced := found["balanced_accuracy"]) is not None:
            points.append((balanced.mean, (row.label, panels)))
    return [point for _, point in sorted(points, key=lambda each: each[0], reverse=True)]


def forest_title(group: Group) -> str:
    """The title of a group's figure."""
    reading = main_reading(group)
    reference = reading.reference()
    assert reference is not None
    means = [f"{reading.mean(reference, figure):.1f}" for figure in figures_of(group)]
    base = "natural sampling with logit adjustment" if reading.adjusted else reading.name
    return (
        f"{group.title}, {base}. Minus {reference.label} ({', '.join(means)}), in points, with 95 % intervals over "
        f"seeds. Numbers at the right: means in percent"
    )


def figure_name(group: Group) -> str:
    """The file name of a group's figure."""
    fields = group.fields
    cut = f"cut {fields['imbalance']:g}" if fields["imbalance"] else ""
    name = f"{fields['data']} {cut} {fields['dedup'] or ''} {fields['split']} {fields['classifier']} {fields['epochs']}"
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") + ".png"


def table_lengths(groups: Sequence[Group]) -> str:
    """Rows that were trained for different numbers of epochs, with logit adjustment.

    A run is long enough if doubling the epochs changes little.
    """
    lines = []
    for group in groups:
        fields = {name: value for name, value in group.fields.items() if name != "epochs"}
        for other in groups:
            if other.fields["epochs"] <= group.fields["epochs"]:
                continue
            if {name: value for name, value in other.fields.items() if name != "epochs"} != fields:
                continue
            for row in main_reading(group).rows:
                same = [each for each in main_reading(other).rows if is_longer(each, row)]
                adjusted = main_reading(group).adjusted
                for longer in same:
                    cells = difference_cells(longer, row, adjusted)
                    spread = mean_sd(row.values("balanced_accuracy", adjusted))
                    epochs = f"{group.fields['epochs']} to {other.fields['epochs']}"
                    lines.append([f"{fields['data']}, {fields['split']}", row.label, epochs, spread, *cells])
    if not lines:
        return NOTHING
    head = [
        "",
        "arm",
        "epochs",
        "balanced accuracy",
        "seeds",
        "accuracy",
        "balanced accuracy, difference",
        "over images",
        "mAP",
    ]
    return "The effect of more epochs, with logit adjustment.\n\n" + make_table(head, lines)


def is_longer(row: Row, other: Row) -> bool:
    """Whether a row differs from a shorter one only in its length.

    Epochs at the end are compared as a share of all. They may differ by less than an epoch of the shorter one.
    """

    def describe(each: Row) -> list[Any]:
        return [each.base, each.arm, {name: value for name, value in each.settings.items() if name not in AT_THE_END}]

    epochs, others = (next(iter(each.runs.values()))["epochs"] for each in (row, other))
    shares = [(row.settings.get(name, 0) / epochs, other.settings.get(name, 0) / others) for name in AT_THE_END]
    return describe(row) == describe(other) and all(abs(long - short) < 1 / others for long, short in shares)


# Table I of the paper, RAF-DB, in percent: classifier => arm => accuracy ("total precision") and mAP.
PAPER = {
    "ResNet-34": {"none": (70.21, 55.87), "balanced": (73.22, 64.12), "ours": (74.43, 67.37)},
    "DAN": {"none": (88.32, 81.98), "balanced": (88.64, 80.95), "ours": (89.24, 82.05)},
}


def table_paper(groups: Sequence[Group]) -> str:
    """The paper's figures beside ours. The data differ, so only the differences between arms can be compared."""
    lines = []
    for classifier, arms in PAPER.items():
        for arm, (accuracy, average) in arms.items():
            base = arms["balanced"]
            cells = [f"{accuracy - base[0]:+.2f}", f"{average - base[1]:+.2f}"] if arm != "balanced" else ["", ""]
            lines.append([f"the paper, RAF-DB, {classifier}", arm, f"{accuracy:.2f}", f"{average:.2f}", *cells])
    for group in groups:
        if group.fields["classifier"] not in ("resnet34", "dan"):
            continue
        reference = next((row for row in group.rows if (row.base, row.arm) == ("balanced", "none")), None)
        for row in group.rows:
            cells = [f"{statistics.mean(row.values(figure)):.2f}" for figure in ("accuracy", "mAP")]
            for figure in ("accuracy", "mAP"):
                cells.append("" if reference in (row, None) else str(compare(row, reference, figure) or ""))
            lines.append([group.title, f"{row.base}, {row.label}", *cells])
    text = make_table(["", "arm", "accuracy", "mAP", "accuracy - balanced", "mAP - balanced"], lines)
    note = (
        "The paper trains for 40 epochs on RAF-DB (12 271 images of 100 pixels, which researchers get on request). Its "
        "DAN starts from a trunk that was trained on millions of faces. DAN's authors report an accuracy of 89.70 "
        "([Wen et al. 2021](https://arxiv.org/abs/2109.07270)), which is above all three of the paper's arms. "
        "Here the data is FER2013 cut to imbalance 100, with images of 48 pixels, and all networks are trained from "
        "scratch. In the paper, *ours* is mode `decode` with half of the images augmented."
    )
    return f"{text}\n\n{note}"
