"""``semantic-aug evaluate``: quality of a checkpoint on held-out images."""

import argparse
import json
import sys
from pathlib import Path

from semantic_aug import _distributed
from semantic_aug.cli.data import load
from semantic_aug.cli.devices import chosen_device, chosen_precision
from semantic_aug.cli.paths import png, writable
from semantic_aug.data.dataset import ImageSet
from semantic_aug.data.source import find_source
from semantic_aug.evaluation import quality
from semantic_aug.evaluation.classifier import Judge, train_judge
from semantic_aug.evaluation.lpips import Perceptual
from semantic_aug.figures import drawing
from semantic_aug.model.artifact import Artifact

JUDGE = "judge.safetensors"  # where it is kept unless --judge says otherwise


def run(options: argparse.Namespace) -> None:
    """Print the figures as JSON, and write them and the picture of verdicts where asked to."""
    if options.compared < 2:
        raise ValueError(f"--compared must be at least 2, got {options.compared}")
    device = chosen_device(options.device)
    output = [] if options.json is None else [writable(options.json)]
    if options.picture is not None:
        output.append(png(options.picture, "--picture"))
    artifact = Artifact.load(options.checkpoint)
    processes = _distributed.join(device)
    artifact = artifact.to(processes.device)
    data = load(artifact, options.data, skip_bad=options.skip_bad, same_classes=False)
    judge = judge_of(options, artifact, data)
    if options.picture is not None and judge is None:
        raise ValueError("--picture shows the judge's verdicts; give --train DATA, or --judge FILE that is there")
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


def judge_of(options: argparse.Namespace, artifact: Artifact, data: ImageSet) -> Judge | None:
    """The judge of ``--judge``, trained on ``--train`` where there is none yet and kept there."""
    path = Path(options.judge or JUDGE)
    if options.judge is None and options.train is None:
        print("no --judge and no --train: class agreement is left out", file=sys.stderr)
        return None
    processes = _distributed.join(options.device)
    with processes.main_process_first():  # the others find the judge that it trained
        if path.exists():
            judge = _kept_judge(path, options, artifact)
            if processes.is_main_process:
                print(f"judge: {path}, trained on {judge.images} images before", file=sys.stderr)
            return judge
        if options.train is None:
            raise FileNotFoundError(f"{path}: no such judge; --train DATA trains it on real images and keeps it there")
        writable(str(path))
        training = load(artifact, options.train, skip_bad=options.skip_bad, same_classes=False)
        print(f"training the judge on {len(training)} real images", file=sys.stderr)
        judge = train_judge(
            training, data, seed=options.seed, device=str(artifact.device),
            precision=chosen_precision("auto", str(artifact.device)), say=lambda line: print(line, file=sys.stderr),
        )  # fmt: skip
        judge.save(path)
        return Judge.load(path)


def _kept_judge(path: Path, options: argparse.Namespace, artifact: Artifact) -> Judge:
    """The judge of a file. Raises ValueError where it is not that of ``--train``, or of the artifact's classes."""
    judge = Judge.load(path)
    if options.train is not None:
        found = len(find_source(options.train).files)
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
