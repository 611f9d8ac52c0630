"""What changes, and is the class kept? python -m benchmarks.directions CHECKPOINT DATA --judge FILE (see --help)

Held-out images are moved along the leading directions of the covariance of their class, one standard deviation forward
and one back, and the two results are compared. The comparison covers brightness, left-right asymmetry (of pose and
light), an identity embedding, and a judge's logit of the class. Two other moves are measured for comparison. One is a
random draw of the class at the recommended strength, together with its opposite. The other is a step toward the mean of
another class, with the same length as the first direction.

All changes are relative to the differences between real images. A figure is the mean absolute change, divided by the
mean absolute difference between two images of the class. 0 means that nothing changes, and 1 means a change as large as
between two different images. The table also shows how often the judge predicts the same class for the moved image and
the real image.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.report.markdown import make_table
from semantic_aug import Artifact
from semantic_aug._random import seeded
from semantic_aug.data.dataset import ImageSet, load_data
from semantic_aug.evaluation.classifier import Judge
from semantic_aug.evaluation.identity import IDENTITY, Embed, identity_embedding
from semantic_aug.functional import blend, decode_pair
from semantic_aug.images import bytes_to_model, model_to_unit, unit_to_model
from semantic_aug.labels import label_table
from semantic_aug.model.recommended import MODES, Mode
from semantic_aug.model.runtime import LatentModel

FIGURES = ("brightness", "asymmetry", "identity", "class logit")


# --- Measures of an image ---------------------------------------------------------------------------------------


def brightness(x: Tensor) -> Tensor:
    """Mean over pixels: (N, C, S, S) => (N, 1)."""
    return x.flatten(1).mean(1, keepdim=True)


def asymmetry(x: Tensor) -> Tensor:
    """Mean of the left half minus mean of the right half: (N, C, S, S) => (N, 1)."""
    half = x.shape[-1] // 2
    return brightness(x[..., :half]) - brightness(x[..., -half:])


def log_odds(judge: Judge, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The logit of the true class against all others, (N, 1), and the predicted classes (N,)."""
    p = judge.logits(x).double().log_softmax(1)
    true = p.gather(1, labels[:, None])
    return true - (-true.exp().clamp(max=1 - 1e-12)).log1p(), p.argmax(1)


# --- Moves ------------------------------------------------------------------------------------------------------


def moves(artifact: Artifact, label: int, n: int, count: int, seed: int) -> dict[str, Tensor]:
    """Steps to add to and subtract from the latents of ``n`` images of a class. Returns name => step (n, d)."""
    # The columns are directions, multiplied by their standard deviations.
    factor = artifact.statistics.factor(label, artifact.recommended.shrinkage)
    d, _ = factor.shape
    made = {f"direction {number + 1}": factor[:, number].expand(n, d) for number in range(min(count, d))}
    strength = artifact.recommended.strength
    noise = torch.randn(n, d, generator=seeded(seed, "directions", label))
    made[f"random draw at {strength:g}"] = strength**0.5 * noise @ factor.T
    other = (label + 1) % len(artifact.classes)
    way = (artifact.statistics.mean[other] - artifact.statistics.mean[label]).float()
    return made | {"to another class": (way / way.norm() * factor[:, 0].norm()).expand(n, d)}


def moved(artifact: Artifact, x: Tensor, label: int, step: Tensor, mode: Mode) -> tuple[Tensor, Tensor]:
    """Images (N, C, S, S) in [-1, 1] whose latents were moved forward and back, made like augmentations."""
    mu, model = artifact.encode(x), LatentModel.of(artifact)
    labels = torch.full((len(x),), label)
    made = []
    for z in (mu + step, mu - step):
        before, after = decode_pair(mu, z, labels, model, mode)
        made.append(unit_to_model(blend(model_to_unit(x), before, after).clamp(0, 1)))
    return made[0], made[1]


@torch.no_grad()
def of_class(
    artifact: Artifact, x: Tensor, label: int, judge: Judge, embed: Embed | None, options: argparse.Namespace
) -> dict[str, dict[str, float]]:
    """Measure every move for images ``x`` (N, C, S, S) of one class."""
    n = len(x)
    true = judge.table(artifact.classes)[label].expand(n)
    measures: dict[str, Embed] = {"brightness": brightness, "asymmetry": asymmetry}
    if embed is not None:
        measures["identity"] = embed
    measures["class logit"] = lambda images: log_odds(judge, images, true)[0]
    of_real = {name: measure(x) for name, measure in measures.items()}
    unit = {name: (values - values.roll(1, 0)).norm(dim=1).mean() for name, values in of_real.items()}
    seen = log_odds(judge, x, true)[1]
    statistics = artifact.statistics
    variance = float(statistics.covariance(label, artifact.recommended.shrinkage).trace())
    figures = {}
    for name, step in moves(artifact, label, n, options.directions, options.seed).items():
        forward, back = moved(artifact, x, label, step, options.mode)
        row = {
            key: float((measure(forward) - measure(back)).norm(dim=1).mean() / unit[key])
            for key, measure in measures.items()
        }
        same = [(log_odds(judge, images, true)[1] == seen).double().mean() for images in (forward, back)]
        figures[name] = row | {"agreement": float(sum(same) / 2), "variance": float(step[0].square().sum()) / variance}
    return figures


def measure(artifact: Artifact, data: ImageSet, judge: Judge, options: argparse.Namespace) -> dict[str, Any]:
    """Measure every class. Returns the figures of each class, and their mean over the classes."""
    embed = identity_embedding()
    labels = label_table(data.classes, artifact.classes)[data.labels]
    classes = {}
    for label, name in enumerate(artifact.classes):
        members = (labels == label).nonzero().flatten()[: options.images]
        if len(members) < 2:
            raise ValueError(f"class {name!r} has {len(members)} images in the data; at least 2 are needed")
        images = bytes_to_model(data.images[members])
        classes[name] = of_class(artifact, images, label, judge, embed, options)
    rows = next(iter(classes.values()))
    mean = {
        row: {key: sum(classes[name][row][key] for name in classes) / len(classes) for key in rows[row]} for row in rows
    }
    return {
        "checkpoint": Path(artifact.directory or "in memory").name, "fingerprint": artifact.fingerprint[:12],
        "mode": options.mode, "images_per_class": options.images, "seed": options.seed,
        "identity": IDENTITY if embed else "missing", "mean": mean, "classes": classes,
    }  # fmt: skip


def table(figures: dict[str, Any]) -> str:
    """Return a markdown table of the means over classes."""
    lines = []
    for name, row in figures["mean"].items():
        share = f"{row['variance']:.1%}" if name.startswith("direction") else ""
        cells = [f"{row[key]:.2f}" if key in row else "missing" for key in FIGURES]
        lines.append([name, share, *cells, f"{row['agreement']:.1%}"])
    return make_table(["move", "share of variance", *FIGURES, "same prediction"], lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write the results to ``--json``. Returns 0, or 2 if something is rejected."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("checkpoint", metavar="CHECKPOINT")
    add("data", metavar="DATA", help="held-out images")
    add("--judge", metavar="FILE", required=True, help="judge that semantic-aug evaluate wrote")
    add("--directions", metavar="N", type=int, default=8, help="number of directions per class (default: 8)")
    add("--images", metavar="N", type=int, default=64, help="maximum number of images per class (default: 64)")
    add("--mode", choices=MODES, default="detail", help="default: detail")
    add("--seed", metavar="S", type=int, default=0)
    add("--json", metavar="FILE", type=Path)
    options = parser.parse_args(arguments)
    try:
        artifact, judge = Artifact.from_pretrained(options.checkpoint), Judge.load(options.judge)
        data = load_data(options.data, artifact.network.channels, artifact.network.image_size)
        figures = measure(artifact, data, judge, options)
    except (ValueError, OSError) as error:
        print(f"directions: {error}", file=sys.stderr)
        return 2
    print(table(figures))
    if options.json:
        options.json.write_text(json.dumps(_rounded(figures), indent=1, sort_keys=True) + "\n")
    return 0


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return round(value, 4) if isinstance(value, float) else value


if __name__ == "__main__":
    sys.exit(main())
