"""``semantic-aug evaluate``: measure the quality of a checkpoint on held-out images."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semantic_aug.cli.options import DATA, Add
from semantic_aug.cli.paths import png, writable

if TYPE_CHECKING:
    from semantic_aug.data.dataset import ImageSet
    from semantic_aug.evaluation.classifier import Judge
    from semantic_aug.evaluation.lpips import Perceptual
    from semantic_aug.evaluation.plane import Plane
    from semantic_aug.model.artifact import Artifact
    from semantic_aug.model.recommended import Recommended

SUMMARY = "Measure a checkpoint on held-out images: reconstruction, realism, diversity and class agreement."
EXAMPLE = "evaluate fer2013-48 faces/validation --train faces/train --json figures.json"
JUDGE = "judge.safetensors"  # default of --judge


def add_options(add: Add) -> None:
    """Describe the verb's options."""
    add("checkpoint")
    add("data", help=f"held-out images, {DATA}")
    add("--train", metavar="DATA", help="real images to train the judge on, a classifier, if there is none yet")
    add("--judge", metavar="FILE", help=f"file that keeps the judge (default: {JUDGE})")
    add(
        "--precision",
        choices=("auto", "fp32", "bf16"),
        default="auto",
        help="number format for training a judge (default: auto, which is bf16 on a GPU that supports it, otherwise "
        "fp32)",
    )
    add("--compared", metavar="N", type=int, default=2000, help="augment and judge at most N images (default: 2000)")
    add("--json", metavar="FILE", help="also write the results to FILE")
    add("--picture", metavar="PNG", help="draw an image of each class with its augmentations and the judge's verdicts")
    add("--plane", metavar="PNG", help="draw affinity against diversity as two judges see them, and print the table")
    add("--seed")
    add("--device")
    add("--skip-bad")


def run(options: argparse.Namespace) -> None:
    """Print the results as JSON. Write them, the picture of verdicts and the plane if asked to."""
    from semantic_aug import _distributed
    from semantic_aug._io import write_whole
    from semantic_aug._progress import Progress
    from semantic_aug.cli.data import load
    from semantic_aug.cli.devices import chosen_device
    from semantic_aug.evaluation import quality
    from semantic_aug.evaluation.classifier import ARCHITECTURE
    from semantic_aug.evaluation.lpips import Perceptual
    from semantic_aug.figures import drawing
    from semantic_aug.model.artifact import Artifact

    if options.compared < 2:
        raise ValueError(f"--compared must be at least 2, got {options.compared}")
    device = chosen_device(options.device)
    output = [] if options.json is None else [writable(options.json)]
    pictures = {"--picture": options.picture, "--plane": options.plane}
    output += [png(path, name) for name, path in pictures.items() if path is not None]
    artifact = Artifact.from_pretrained(options.checkpoint)
    processes = _distributed.join(device)
    artifact = artifact.to(processes.device)
    check_judges(options, artifact)
    data = load(artifact, options.data, skip_bad=options.skip_bad, same_classes=False, file=sys.stderr)
    _distributed.check_equal(images=data.digest(), checkpoint=artifact.fingerprint, seed=str(options.seed))
    judges = get_judges(options, artifact, data)
    judge = judges.get(ARCHITECTURE)
    can_judge = judge is not None and examine_judge(judge, artifact, data)
    perceptual = Perceptual().to(artifact.device)
    total = quality.count_images(artifact, data, compared=options.compared)
    silent = not processes.is_main_process
    with Progress(total, what="images measured", silent=silent, file=sys.stderr) as progress:
        figures = quality.quality(
            artifact,
            data,
            judge=judge if can_judge else None,
            perceptual=perceptual,
            compared=options.compared,
            seed=options.seed,
            advance=progress.advance,
        )
    if not processes.is_main_process:
        return
    measured = None
    if options.plane is not None:
        measured = measure_plane(options, artifact, data, judges, perceptual)
        figures["plane"] = measured.to_json()
    text = json.dumps(figures, indent=1)
    print(text)
    if options.json is not None:
        write_whole(f"{text}\n".encode(), Path(options.json))
    if options.picture is not None and judge is not None:
        drawing.save(quality.picture(artifact, data, judge, seed=options.seed), options.picture)
    if measured is not None:
        draw_plane(measured, options.plane)
    for line in [*summarize(figures, artifact.recommended), *(f"wrote {path}" for path in output)]:
        print(line, file=sys.stderr)


def summarize(figures: dict[str, Any], recommended: "Recommended") -> list[str]:
    """The main figures in words: reconstruction, and the judge's accuracy with the recommended settings."""
    error, mode, strength = figures["reconstruction"], recommended.mode, f"{recommended.strength:g}"
    lines = [
        f"reconstruction of {figures['images']} images: L1 {error['l1_mean']:.3f}, LPIPS {error['lpips_mean']:.3f}"
    ]
    if "agreement" in figures:
        found = figures["agreement"]
        kinds = {"real images": found["real"], "reconstructions": found["reconstruction"]}
        if strength in found[mode]:
            kinds[f"augmentations in mode {mode} at strength {strength}"] = found[mode][strength]
        shares = [f"{share['accuracy']:.0%} of {kind}" for kind, share in kinds.items()]
        lines.append(f"the judge sees the right class in {', '.join(shares)}")
    return [*lines, "next: look at the augmentations with semantic-aug preview"]


def judge_paths(options: argparse.Namespace) -> dict[str, Path]:
    """The paths of the judges by architecture: ``--judge``, and for ``--plane`` the other architectures beside it."""
    from semantic_aug.evaluation.classifier import ARCHITECTURE, ARCHITECTURES

    if options.judge is None and options.train is None:
        return {}
    path = Path(options.judge or JUDGE)
    paths = {name: path.with_name(f"{path.stem}-{name}{path.suffix}") for name in ARCHITECTURES} | {ARCHITECTURE: path}
    return paths if options.plane is not None else {ARCHITECTURE: path}


def check_judges(options: argparse.Namespace, artifact: "Artifact") -> None:
    """Raise for a wrong or missing judge before any image is read."""
    paths = judge_paths(options)
    for name, path in {"--picture": options.picture, "--plane": options.plane}.items():
        if path is not None and not paths:
            raise ValueError(f"{name} shows the judge's verdicts; give --train DATA, or --judge FILE that is there")
    for architecture, path in paths.items():
        if path.exists():
            load_judge(path, architecture, options, artifact)
        elif options.train is None:
            raise FileNotFoundError(f"{path}: no such judge; --train DATA trains it on real images and keeps it there")
        else:
            writable(str(path))


def get_judges(options: argparse.Namespace, artifact: "Artifact", data: "ImageSet") -> "dict[str, Judge]":
    """The judges by their architecture. Missing ones are trained on ``--train`` and kept."""
    from semantic_aug import _distributed
    from semantic_aug._io import remove_left
    from semantic_aug.cli.data import say
    from semantic_aug.evaluation.classifier import Judge

    judges, paths = {}, judge_paths(options)
    if not paths:
        say("no --judge and no --train: class agreement is left out", file=sys.stderr)
    for architecture, path in paths.items():
        with _distributed.join(options.device).main_process_first():  # the others find the judge that it trained
            if path.exists():
                remove_left(path)
                judges[architecture] = load_judge(path, architecture, options, artifact)
                say(f"judge: {path}, trained on {judges[architecture].images} images before", file=sys.stderr)
            else:
                train_new_judge(architecture, options, artifact, data).save(path)
                say(f"wrote {path}", file=sys.stderr)
                judges[architecture] = Judge.load(path)
    return judges


def train_new_judge(architecture: str, options: argparse.Namespace, artifact: "Artifact", data: "ImageSet") -> "Judge":
    """Train a judge on the images of ``--train``, and measure its accuracy on ``data``."""
    from semantic_aug._progress import Progress
    from semantic_aug.cli.data import load
    from semantic_aug.cli.devices import chosen_precision
    from semantic_aug.evaluation.classifier import EPOCHS, train_judge

    training = load(artifact, options.train, skip_bad=options.skip_bad, same_classes=False, file=sys.stderr)
    print(f"training the judge {architecture} on {len(training)} real images", file=sys.stderr)
    device = str(artifact.device)
    with Progress(EPOCHS * len(training), what="images of the judge's training", file=sys.stderr) as progress:
        return train_judge(
            training,
            data,
            architecture=architecture,
            seed=options.seed,
            device=device,
            precision=chosen_precision(options.precision, device),
            say=progress.say,
            advance=progress.advance,
        )


def load_judge(path: Path, architecture: str, options: argparse.Namespace, artifact: "Artifact") -> "Judge":
    """Load a judge. Raises ValueError if it does not belong to ``--train`` or to the artifact's classes."""
    from semantic_aug.data.find import find_source
    from semantic_aug.evaluation.classifier import Judge

    judge = Judge.load(path)
    if judge.architecture != architecture:
        raise ValueError(
            f"{path} is a judge of architecture {judge.architecture}, expected {architecture}; pass --judge FILE for "
            f"another judge"
        )
    if options.train is not None:
        found = len(find_source(options.train))
        if found != judge.images and not options.skip_bad:
            raise ValueError(
                f"{path} was trained on {judge.images} images, {options.train} has {found}; pass --judge FILE for "
                f"another judge, or leave --train out to use this one"
            )
    try:
        judge.table(artifact.classes)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; pass --judge FILE for another judge") from error
    return judge


def examine_judge(judge: "Judge", artifact: "Artifact", data: "ImageSet") -> bool:
    """Whether the judge can judge real images of the data. If not, print so."""
    from semantic_aug.evaluation.affinity import examine
    from semantic_aug.evaluation.plane import IMAGES, draw
    from semantic_aug.evaluation.table import verdict

    found = examine(judge, artifact.classes, draw(data, IMAGES, 0))
    if not found.can_judge:
        print(f"{verdict(judge.architecture, found)} Class agreement is left out.", file=sys.stderr)
    return found.can_judge


def measure_plane(
    options: argparse.Namespace,
    artifact: "Artifact",
    data: "ImageSet",
    judges: "dict[str, Judge]",
    perceptual: "Perceptual",
) -> "Plane":
    """Measure the plane on a seeded subset of the images, with a linear probe if there are training images."""
    from semantic_aug.cli.data import load
    from semantic_aug.evaluation.identity import identity_embedding
    from semantic_aug.evaluation.plane import IMAGES, draw, plane

    training = None
    if options.train is not None:
        training = load(artifact, options.train, skip_bad=options.skip_bad, same_classes=False, file=sys.stderr)
    return plane(
        artifact,
        draw(data, IMAGES, options.seed),
        judges,
        perceptual,
        training=training,
        embed=identity_embedding(),
        seed=options.seed,
        say=lambda line: print(line, file=sys.stderr),
    )


def draw_plane(measured: "Plane", path: str) -> None:
    """Print the plane's table and write its figure. Raises RuntimeError if no judge can judge the images."""
    from semantic_aug.evaluation.picture import picture
    from semantic_aug.evaluation.table import table
    from semantic_aug.figures import drawing

    print(table(measured), file=sys.stderr)
    if not any(judge.can_judge for judge in measured.judges.values()):
        raise RuntimeError(f"{path} is not drawn, for no judge can judge these images")
    drawing.save(picture(measured), path)
