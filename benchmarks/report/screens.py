"""The report on the screens, with every checkpoint that ``benchmarks.plane`` measured."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from semantic_aug.model.networks import NetworkConfig
from semantic_aug.trainer.config import TrainConfig

from .markdown import make_table
from .rows import RESULTS

INTRODUCTION = """\
    semantic-aug train fer2013/train --imbalance 100 --validation fer2013/validation --output runs/NAME \\
        --preset fer2013-48 --precision bf16 --images 90000 --set snapshot_images=15000 --set log_images=2000
    python -m benchmarks.plane CHECKPOINT --train fer2013/train --held-out fer2013/validation --imbalance 100 \\
        --precision bf16 --perturbations covariance pairs isotropic --strengths 0.35 0.8 1.5

These are the commands for FER2013. `cifar10-300-per-class` was trained on 300 images of each class of CIFAR-10, and so
were its judges (see the README of the benchmarks).

*agree* is how often a judge predicts the same class for an augmented image as for the original image. *true class* is
how often it predicts the label of the image. *draws* is the LPIPS distance between two augmentations of one image. All
figures except *draws* are in percent, and are given for each of the two judges. RandAugment and the real images are
shown for comparison. The standard error of an agreement is about 2 points."""
RECIPE = """\
## Recipes

The table shows the training data of each checkpoint, the errors of its reconstructions, and the settings that differ
from the defaults."""
PLANE = "## The plane\n\nA good augmentation has a high agreement and a high diversity."
KINDS = ("real", "reconstruction", "RandAugment")  # in this order, before the augmentations


def make_report() -> str:
    """Return the text of the report."""
    lines = read_screens()
    parts = ["# Screens", INTRODUCTION, RECIPE, table_recipes(lines), PLANE]
    for line in lines:
        parts += [f"### {line['checkpoint']}", table_plane(line["plane"])]
    return "\n\n".join(parts) + "\n"


def read_screens() -> list[dict[str, Any]]:
    """Read what was measured of each checkpoint."""
    return [json.loads(line) for line in (RESULTS / "screens.jsonl").read_text(encoding="utf-8").splitlines()]


def table_recipes(lines: Sequence[Mapping[str, Any]]) -> str:
    """A table with one row for each checkpoint."""
    rows = []
    for line in lines:
        training, found = line["training"], line["reconstruction"]
        rows.append(
            [
                line["checkpoint"],
                f"{line['network']['latent_dim']}{', map' * line['network'].get('latent_map', False)}",
                str(training.get("images", "")),
                str(training.get("images_seen", "")),
                f"{found['l1_mean']:.3f}, {found.get('lpips_mean', float('nan')):.3f}",
                gate(line, "reconstruction agrees", 100),
                gate(line, "draws at 75 % agreement", 1),
                gate(line, "ahead of isotropic", 100),
                changed(line),
            ]
        )
    head = ["checkpoint", "d", "training images", "images seen", "L1, LPIPS", "reconstruction agrees"]
    head += ["draws where 75 % agree", "covariance minus isotropic, true class", "settings"]
    return make_table(head, rows)


def gate(line: Mapping[str, Any], name: str, scale: float) -> str:
    """The value of a gate, from the judge with the lower value."""
    value = line["gates"][name]["value"]
    return "" if value is None else f"{scale * value:.{1 if scale > 1 else 3}f}"


def changed(line: Mapping[str, Any]) -> str:
    """The settings that differ from those of a run of the same length, with the same data and the current defaults."""
    network = NetworkConfig(**line["network"])
    usual = asdict(TrainConfig(network=network))
    own = ("images", "log_images", "snapshot_images", "precision", "held_out")  # these do not change the recipe
    found = [
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in line["training"].get("settings", {}).items()
        if name in usual and name not in own and value != usual[name]
    ]
    found += ["conditional"] if network.num_classes else []
    return ", ".join(found + [line["note"]] * bool(line["note"]))


def table_plane(plane: Mapping[str, Any]) -> str:
    """A table with one row for each kind of image of one checkpoint."""
    measured, judges = plane["measured"], list(plane["judges"])
    kinds = [*KINDS, *(kind for kind in measured if kind not in KINDS)]
    rows = []
    for kind in kinds:
        figures = measured[kind]
        cells = [
            " / ".join(f"{100 * figures['affinity'][judge][name]['value']:.1f}" for judge in judges)
            for name in ("agree", "accuracy", "balanced")
        ]
        rows.append([kind, f"{figures['diversity']['value']:.3f}", *cells])
    return make_table(["images", "draws", "agree", "true class", "true class, balanced"], rows)
