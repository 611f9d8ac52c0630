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
from semantic_aug.data.find import find_source
from semantic_aug.evaluation import quality
from semantic_aug.evaluation.affinity import examine
from semantic_aug.evaluation.classifier import ARCHITECTURE, ARCHITECTURES, Judge, train_judge
from semantic_aug.evaluation.identity import identity_embedding
from semantic_aug.evaluation.lpips import Perceptual
from semantic_aug.evaluation.picture import picture
from semantic_aug.evaluation.plane import IMAGES, Plane, draw, plane
from semantic_aug.evaluation.table import table, verdict
from semantic_aug.figures import drawing
from semantic_aug.model.artifact import Artifact

JUDGE = "judge.safetensors"  # where it is kept unless --judge says otherwise


def run(options: argparse.Namespace) -> None:
    """Print the figures as JSON, and write them, the picture of verdicts and the plane where asked to."""
    if options.compared < 2:
        raise ValueError(f"--compared must be at least 2, got {options.compared}")
    device = chosen_device(options.device)
    output = [] if options.json is None else [writable(options.json)]
    pictures = {"--picture": options.picture, "--plane": options.plane}
    output += [png(path, name) for name, path in pictures.items() if path is not None]
    artifact = Artifact.from_pretrained(options.checkpoint)
    processes = _distributed.join(device)
    artifact = artifact.to(processes.device)
    data = load(artifact, options.data, skip_bad=options.skip_bad, same_classes=False)
    judges = judges_of(options, artifact, data)
    for name, path in pictures.items():
        if path is not None and not judges:
            raise ValueError(f"{name} shows the judge's verdicts; give --train DATA, or --judge FILE that is there")
    judge = judges.get(ARCHITECTURE)
    can_judge = judge is not None and examined(judge, artifact, data)
    perceptual = Perceptual().to(artifact.device)
    said = print if processes.is_main_process and sys.stderr.isatty() else None
    figures = quality.quality(
        artifact, data, judge=judge if can_judge else None, perceptual=perceptual, compared=options.compared,
        seed=options.seed, say=said,
    )  # fmt: skip
    if not processes.is_main_process:
        return
    if options.plane is not None:
        measured = plane_of(options, artifact, data, judges, perceptual)
        figures["plane"] = measured.to_json()
    text = json.dumps(figures, indent=1)
    print(text)
    if options.json is not None:
        Path(options.json).write_text(text + "\n", encoding="utf-8")
    if options.picture is not None and judge is not None:
        drawing.save(quality.picture(artifact, data, judge, seed=options.seed), options.picture)
    if options.plane is not None:
        print(table(measured), file=sys.stderr)
        if not any(judge.can_judge for judge in measured.judges.values()):
            raise RuntimeError(f"{options.plane} is not drawn, for no judge can judge these images")
        drawing.save(picture(measured), options.plane)
    for path in output:
        print(f"wrote {path}", file=sys.stderr)


def plane_of(
    options: argparse.Namespace, artifact: Artifact, data: ImageSet, judges: dict[str, Judge], perceptual: Perceptual
) -> Plane:
    """The plane of a seeded part of the images; with a linear probe where there are training images."""
    training = None
    if options.train is not None:
        training = load(artifact, options.train, skip_bad=options.skip_bad, same_classes=False)
    return plane(
        artifact, draw(data, IMAGES, options.seed), judges, perceptual, training=training, embed=identity_embedding(),
        seed=options.seed, say=lambda line: print(line, file=sys.stderr),
    )  # fmt: skip


def examined(judge: Judge, artifact: Artifact, data: ImageSet) -> bool:
    """Whether the judge can judge real images of the data; it is said where not."""
    found = examine(judge, artifact.classes, draw(data, IMAGES, 0))
    if not found.can_judge:
        print(f"{verdict(judge.architecture, found)} Class agreement is left out.", file=sys.stderr)
    return found.can_judge


def judges_of(options: argparse.Namespace, artifact: Artifact, data: ImageSet) -> dict[str, Judge]:
    """The judges by their architecture: that of ``--judge``, and for ``--plane`` one of each other architecture."""
    if options.judge is None and options.train is None:
        print("no --judge and no --train: class agreement is left out", file=sys.stderr)
        return {}
    path = Path(options.judge or JUDGE)
    paths = {name: path.with_name(f"{path.stem}-{name}{path.suffix}") for name in ARCHITECTURES} | {ARCHITECTURE: path}
    wanted = ARCHITECTURES if options.plane is not None else (ARCHITECTURE,)
    return {name: judge_of(paths[name], name, options, artifact, data) for name in wanted}


def judge_of(path: Path, architecture: str, options: argparse.Namespace, artifact: Artifact, data: ImageSet) -> Judge:
    """The judge of a file, trained on ``--train`` where there is none yet and kept there."""
    processes = _distributed.join(options.device)
    with processes.main_process_first():  # the others find the judge that it trained
        if path.exists():
            judge = _kept_judge(path, architecture, options, artifact)
            if processes.is_main_process:
                print(f"judge: {path}, trained on {judge.images} images before", file=sys.stderr)
            return judge
        if options.train is None:
            raise FileNotFoundError(f"{path}: no such judge; --train DATA trains it on real images and keeps it there")
        writable(str(path))
        training = load(artifact, options.train, skip_bad=options.skip_bad, same_classes=False)
        print(f"training the judge {architecture} on {len(training)} real images", file=sys.stderr)
        judge = train_judge(
            training, data, architecture=architecture, seed=options.seed, device=str(artifact.device),
            precision=chosen_precision("auto", str(artifact.device)), say=lambda line: print(line, file=sys.stderr),
        )  # fmt: skip
        judge.save(path)
        return Judge.load(path)


def _kept_judge(path: Path, architecture: str, options: argparse.Namespace, artifact: Artifact) -> Judge:
    """The judge of a file. Raises ValueError where it is not that of ``--train``, or of the artifact's classes."""
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
