"""Affinity and diversity of checkpoints: python -m benchmarks.plane CHECKPOINT [...] --train DATA --held-out DATA

For each checkpoint, this measures affinity and diversity (``semantic_aug.evaluation.plane``), and checks the gates that
a recipe must pass before it gets a long training. It prints a table of all checkpoints, and appends one line for each
checkpoint to a results file.

Judges are always trained on all of --train, no matter what a checkpoint was trained on. They are kept for the next
call. The linear probe is trained on --train cut to --imbalance, like a checkpoint that was trained on the cut images.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.classification.checkpoint import artifact_name
from benchmarks.classification.store import append
from benchmarks.report.markdown import make_table
from semantic_aug import Artifact
from semantic_aug.data.dataset import ImageSet, cut_to_imbalance, load_data
from semantic_aug.evaluation.classifier import ARCHITECTURES, Judge, train_judge
from semantic_aug.evaluation.estimate import Estimate
from semantic_aug.evaluation.identity import IDENTITY, identity_embedding
from semantic_aug.evaluation.lpips import Perceptual
from semantic_aug.evaluation.picture import picture
from semantic_aug.evaluation.plane import IMAGES, Plane, draw, plane
from semantic_aug.evaluation.points import COMPARED, RECONSTRUCTION, STRENGTHS, default_points
from semantic_aug.evaluation.table import distance, percent, table
from semantic_aug.figures.drawing import save

RESULTS = Path(__file__).parent / "results" / "screens.jsonl"
# The figures that a recipe must reach before it gets a long training.
GATES = {"probe": 0.55, "reconstruction agrees": 0.70, "draws at 75 % agreement": 0.12, "ahead of isotropic": 0.05}

Gate = dict[str, Any]  # value and error (None if not measured), goal, passed


def gates(found: Plane) -> dict[str, Gate]:
    """Each figure of ``GATES``, from the judge with the lower value. It has no value if a judge cannot judge.

    "ahead of isotropic" is the lead of the covariance in predictions of the true class at equal diversity. It is the
    mean over both modes and all strengths at which the two can be compared.
    """
    judges = list(found.judges) if all(judge.can_judge for judge in found.judges.values()) else []
    values = {
        "probe": [found.probe.accuracy] if found.probe else [],
        "reconstruction agrees": [found.measured[RECONSTRUCTION].affinity[judge].agree for judge in judges],
        "draws at 75 % agreement": [
            reach.diversity for reach in found.reach if (reach.mode, reach.perturbation) == ("detail", "covariance")
        ],
        "ahead of isotropic": [ahead for judge in judges if (ahead := _ahead(found, judge))],
    }
    result = {}
    for name, goal in GATES.items():
        known = values[name] if name == "probe" or len(values[name]) == len(found.judges) else []
        worst = min(known, key=lambda estimate: estimate.value, default=None)
        result[name] = {
            "value": None if worst is None else round(worst.value, 6),
            "error": None if worst is None or worst.error is None else round(worst.error, 6),
            "goal": goal, "passed": worst is not None and worst.value >= goal,
        }  # fmt: skip
    return result


def _ahead(found: Plane, judge: str) -> Estimate | None:
    parts = [each.accuracy for each in found.ahead if (each.judge, each.point.perturbation) == (judge, "covariance")]
    if not parts:
        return None
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total / len(parts)


def row(found: Plane, artifact: Artifact) -> list[str]:
    """The cells of a checkpoint in ``comparison``. Figures of both judges are in the order of the judges."""

    def agree(kind: str) -> str:
        affinity = found.measured[kind].affinity if kind in found.measured else {}
        return " / ".join(percent(each.agree) for each in affinity.values()) or "not measured"

    strength = f"{artifact.recommended.strength:g}"
    cells = [agree(RECONSTRUCTION), agree(f"decode covariance {strength}"), agree(f"detail covariance {strength}")]
    detail = found.measured.get(f"detail covariance {strength}")
    cells.append(distance(detail.diversity) if detail else "not measured")
    for name, gate in gates(found).items():
        scale, digits = (1, 3) if name.startswith("draws") else (100, 1)
        mark = "" if gate["passed"] else f" (< {gate['goal'] * scale:g})"
        cells.append("not measured" if gate["value"] is None else f"{gate['value'] * scale:.{digits}f}{mark}")
    return [artifact_name(artifact), strength, *cells]


def comparison(rows: Sequence[Sequence[str]]) -> str:
    """Return a markdown table of all checkpoints, in percent except for distances."""
    head = ["checkpoint", "strength", "reconstruction agrees", "decode agrees", "detail agrees", "detail draws"]
    return make_table([*head, *(name for name in GATES)], rows)


def judges_of(
    folder: Path, training: ImageSet, held_out: ImageSet, *, seed: int, precision: str = "fp32"
) -> dict[str, Judge]:
    """Load a judge of each architecture. Missing judges are trained on ``training`` and saved in ``folder``."""
    judges = {}
    for name in ARCHITECTURES:
        path = folder / f"{name}.safetensors"
        if not path.exists():
            print(f"training the judge {name} on {len(training)} real images", file=sys.stderr)
            judge = train_judge(training, held_out, architecture=name, seed=seed, precision=precision, say=_say)
            judge.save(path)
        judges[name] = Judge.load(path)
        if (judges[name].architecture, judges[name].images) != (name, len(training)):
            raise ValueError(
                f"{path} is a judge {judges[name].architecture} trained on {judges[name].images} images, expected "
                f"{name} trained on {len(training)}; pass another folder as --judges"
            )
    return judges


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def measure(artifact: Artifact, options: argparse.Namespace, lpips: Perceptual) -> tuple[Plane, dict[str, Any]]:
    """Measure a checkpoint. Returns its plane and its line for the results file."""
    network = artifact.network
    training, held_out = (
        load_data(data, network.channels, network.image_size, cache=options.cache)
        for data in (options.train, options.held_out)
    )
    judges = judges_of(options.judges, training, held_out, seed=options.seed, precision=options.precision)
    cut = cut_to_imbalance(training, options.imbalance) if options.imbalance else training
    start = time.process_time()
    found = plane(
        artifact, draw(held_out, options.images, options.seed), judges, lpips, training=cut,
        points=default_points(artifact, options.perturbations, options.strengths),
        embed=identity_embedding() if options.identity else None, seed=options.seed, say=_say,
    )  # fmt: skip
    line = {
        "checkpoint": artifact_name(artifact), "note": options.note,
        "fingerprint": artifact.fingerprint[:12], "network": asdict(network),
        "training": artifact.training, "recommended": asdict(artifact.recommended),
        "reconstruction": artifact.reconstruction,
        "train": Path(options.train).name, "held_out": Path(options.held_out).name, "imbalance": options.imbalance,
        "identity": IDENTITY if options.identity else "not measured", "gates": gates(found), "plane": found.to_json(),
        "cpu_seconds": round(time.process_time() - start, 1), "versions": {"torch": torch.__version__},
    }  # fmt: skip
    return found, line


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure every checkpoint, print and append the results. Returns 0, or 2 if something is rejected."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.plane", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("checkpoints", metavar="CHECKPOINT", nargs="+")
    add("--train", metavar="DATA", required=True, help="real images to train the judges and the linear probe on")
    add("--held-out", metavar="DATA", required=True, help="real images that were not used for any training")
    add(
        "--imbalance",
        metavar="R",
        type=float,
        help="cut --train to this imbalance for the probe, like the checkpoint's training images",
    )
    add("--judges", metavar="DIR", type=Path, default=Path("judges"), help="where judges are kept (default: judges)")
    add("--precision", choices=("fp32", "bf16"), default="fp32", help="precision of training the judges; bf16 is "
        "faster on processors with bfloat16 units")  # fmt: skip
    add("--images", metavar="N", type=int, default=IMAGES, help=f"maximum of held-out images (default: {IMAGES})")
    add("--perturbations", metavar="NAME", nargs="+", default=COMPARED, help=f"default: {' '.join(COMPARED)}")
    add("--strengths", metavar="S", type=float, nargs="+", default=STRENGTHS, help=f"default: {STRENGTHS}")
    add("--identity", action="store_true", help="also measure how far the identity of faces moves, which takes some "
        "minutes; needs pip install dlib-bin face_recognition_models")  # fmt: skip
    add("--pictures", metavar="DIR", type=Path, help="directory for a plot NAME.png of each checkpoint")
    add("--cache", metavar="DIR", help="directory that keeps decoded images")
    add("--note", metavar="TEXT", default="", help="a note on the checkpoints for the report")
    add("--seed", metavar="S", type=int, default=0)
    add("--json", metavar="FILE", type=Path, default=RESULTS, help="results file, which gets one line per checkpoint "
        "(default: results/screens.jsonl)")  # fmt: skip
    options = parser.parse_args(arguments)
    rows = []
    try:
        if options.identity and identity_embedding() is None:
            raise ValueError("--identity needs pip install dlib-bin face_recognition_models")
        lpips = Perceptual()
        for checkpoint in options.checkpoints:
            artifact = Artifact.from_pretrained(checkpoint)
            found, line = measure(artifact, options, lpips)
            append(options.json, line)
            rows.append(row(found, artifact))
            print(f"{rows[-1][0]}\n\n{table(found)}\n", flush=True)
            if options.pictures:
                save(picture(found), options.pictures / f"{rows[-1][0]}.png")
    except (ValueError, OSError) as error:
        print(f"plane: {error}", file=sys.stderr)
        return 2
    print(comparison(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
