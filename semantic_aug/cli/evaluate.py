"""``semantic-aug evaluate``: quality of a checkpoint on held-out images."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from semantic_aug.cli.options import DATA, Add
from semantic_aug.cli.paths import png, writable

if TYPE_CHECKING:
    from semantic_aug.data.dataset import ImageSet
    from semantic_aug.evaluation.classifier import Judge
    from semantic_aug.model.artifact import Artifact

SUMMARY = "Quality of a checkpoint on held-out images: reconstruction, realism, diversity, class agreement."
EXAMPLE = "evaluate fer2013-48 faces/validation --train faces/train --json figures.json"
JUDGE = "judge.safetensors"  # where it is kept unless --judge says otherwise


def add_options(add: Add) -> None:
    """Describe the verb's options."""
    add("checkpoint")
    add("data", help=f"held-out images, {DATA}")
    add("--train", metavar="DATA", help="real images to train the judge classifier on, where there is none yet")
    add("--judge", metavar="FILE", help=f"where the judge is kept (default: {JUDGE})")
    add("--compared", metavar="N", type=int, default=2000, help="augment and judge at most N images (default: 2000)")
    add("--json", metavar="FILE", help="also write the figures there")
    add("--picture", metavar="PNG", help="an image of each class, and what the judge says of its augmentations")
    add("--seed")
    add("--device")
    add("--skip-bad")


def run(options: argparse.Namespace) -> None:
    """Print the figures as JSON, and write them and the picture of verdicts where asked to."""
    from semantic_aug import _distributed
    from semantic_aug.cli.data import load
    from semantic_aug.cli.devices import chosen_device
    from semantic_aug.evaluation import quality
    from semantic_aug.evaluation.lpips import Perceptual
    from semantic_aug.figures import drawing
    from semantic_aug.model.artifact import Artifact

    if options.compared < 2:
        raise ValueError(f"--compared must be at least 2, got {options.compared}")
    device = chosen_device(options.device)
    output = [] if options.json is None else [writable(options.json)]
    if options.picture is not None:
        output.append(png(options.picture, "--picture"))
    artifact = Artifact.load(options.checkpoint)
    processes = _distributed.join(device)
    artifact = artifact.to(processes.device)
    check_judge(options, artifact)
    data = load(artifact, options.data, skip_bad=options.skip_bad, same_classes=False, file=sys.stderr)
    judge = get_judge(options, artifact, data)
    perceptual = Perceptual().to(artifact.device)
    said = print if processes.is_main_process and sys.stderr.isatty() else None
    figures = quality.quality(
        artifact, data, judge=judge, perceptual=perceptual, compared=options.compared, seed=options.seed, say=said
    )
    if not processes.is_main_process:
        return
    text = json.dumps(figures, indent=1)
    print(text)
    if options.json is not None:
        Path(options.json).write_text(text + "\n", encoding="utf-8")
    if options.picture is not None and judge is not None:
        drawing.save(quality.picture(artifact, data, judge, seed=options.seed), options.picture)
    for path in output:
        print(f"wrote {path}", file=sys.stderr)


def check_judge(options: argparse.Namespace, artifact: "Artifact") -> None:
    """Refuse a wrong judge, or one that is missing, before any image is read."""
    path = Path(options.judge or JUDGE)
    if options.judge is None and options.train is None:
        if options.picture is not None:
            raise ValueError("--picture shows the judge's verdicts; give --train DATA, or --judge FILE that is there")
    elif path.exists():
        load_judge(path, options, artifact)
    elif options.train is None:
        raise FileNotFoundError(f"{path}: no such judge; --train DATA trains it on real images and keeps it there")
    else:
        writable(str(path))


def get_judge(options: argparse.Namespace, artifact: "Artifact", data: "ImageSet") -> "Judge | None":
    """The judge of ``--judge``, trained on ``--train`` where there is none yet and kept there."""
    from semantic_aug import _distributed
    from semantic_aug.cli.data import say
    from semantic_aug.evaluation.classifier import Judge

    path = Path(options.judge or JUDGE)
    if options.judge is None and options.train is None:
        say("no --judge and no --train: class agreement is left out", file=sys.stderr)
        return None
    with _distributed.join(options.device).main_process_first():  # the others find the judge that it trained
        if path.exists():
            judge = load_judge(path, options, artifact)
            say(f"judge: {path}, trained on {judge.images} images before", file=sys.stderr)
            return judge
        make_judge(options, artifact, data).save(path)
        return Judge.load(path)


def make_judge(options: argparse.Namespace, artifact: "Artifact", data: "ImageSet") -> "Judge":
    """Train a judge on the images of ``--train``; ``data`` tells how good it is."""
    from semantic_aug.cli.data import load
    from semantic_aug.cli.devices import chosen_precision
    from semantic_aug.evaluation.classifier import train_judge

    training = load(artifact, options.train, skip_bad=options.skip_bad, same_classes=False, file=sys.stderr)
    print(f"training the judge on {len(training)} real images", file=sys.stderr)
    device = str(artifact.device)
    return train_judge(
        training,
        data,
        seed=options.seed,
        device=device,
        precision=chosen_precision("auto", device),
        say=lambda line: print(line, file=sys.stderr),
    )


def load_judge(path: Path, options: argparse.Namespace, artifact: "Artifact") -> "Judge":
    """The judge of a file. Raises ValueError where it is not that of ``--train``, or of the artifact's classes."""
    from semantic_aug.data.find import find_source
    from semantic_aug.evaluation.classifier import Judge

    judge = Judge.load(path)
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
