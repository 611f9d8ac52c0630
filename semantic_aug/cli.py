"""The command line: one verb, one function. Heavy imports stay inside the verbs."""

import argparse
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semantic_aug import completion

if TYPE_CHECKING:
    from torch import Tensor

    from semantic_aug.artifact import Artifact
    from semantic_aug.figures import Sources
    from semantic_aug.trainer.data import ImageSet
    from semantic_aug.trainer.judge import Judge

OK, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130
DEMO_PICTURE = "semantic-aug-demo.png"
JUDGE = "judge.safetensors"
TRAINING = ("accelerate", "lpips", "tensorboard")  # of the extra "train"
REFUSALS = (ValueError, TypeError, FileNotFoundError, FileExistsError, ModuleNotFoundError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; the exit code: 0 success, 1 a failure while working, 2 refused before work, 130 Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(arguments)
    if not sys.stderr.isatty():  # bars of downloads and uploads are for terminals
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    options.command = " ".join(["semantic-aug", *map(_recorded, arguments)])
    try:
        options.run(options)
        from semantic_aug.trainer.distributed import leave

        leave()
        return OK
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except Exception as error:
        if options.traceback:
            traceback.print_exc()
        message = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, ModuleNotFoundError) and error.name in TRAINING:
            message += '; this verb needs pip install "semantic-aug[train]"'
        print(f"semantic-aug {options.verb}: {message}", file=sys.stderr)
        return REFUSED if isinstance(error, REFUSALS) else FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="semantic-aug", description="Semantic data augmentation for images.")
    completion.add_option(parser)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    data = "an image folder (DATA/<class>/*.png, jpg, ...), torchvision:NAME, or another source, see the README"
    checkpoint = "a bundled name (fer2013-48, fashion-mnist-32), a directory, or a Hub id (user/repo[@revision])"
    drawn = f"{data} (default: images that the checkpoint draws itself)"
    # What several verbs take; a verb may say otherwise.
    shared: dict[str, dict[str, Any]] = {
        "checkpoint": {"metavar": "CHECKPOINT", "help": checkpoint},
        "data": {"metavar": "DATA", "help": data},
        "--seed": {"metavar": "S", "type": int, "default": 0, "help": "default: 0"},
        "--device": {"metavar": "D", "help": "cpu, cuda, cuda:1, mps (default: the best there is)"},
        "--skip-bad": {"action": "store_true", "help": "leave out images that cannot be read"},
    }

    def verb(run: Callable[[argparse.Namespace], None], summary: str, example: str) -> Callable[..., argparse.Action]:
        name = run.__name__.removeprefix("_")
        sub = verbs.add_parser(name, help=summary, description=summary, epilog=f"example: semantic-aug {example}")
        sub.set_defaults(run=run)
        sub.add_argument("--traceback", action="store_true", help="show where an error came from")
        return lambda name, **own: sub.add_argument(name, **(shared.get(name, {}) | own))

    add = verb(_demo, "See a checkpoint at work, per sample and per batch.", "demo path/to/images")
    add("data", nargs="?", help=drawn)
    add("--checkpoint", metavar="CHECKPOINT", default="fer2013-48", help=f"{checkpoint}; default: fer2013-48")
    add("--output", metavar="PNG", default=DEMO_PICTURE, help=f"default: {DEMO_PICTURE}")

    add = verb(
        _train,
        "Train a checkpoint. Running the same command again goes on where it stopped.",
        "train faces/train --output runs/faces --preset fer2013-48 --minutes 60",
    )
    add("data")
    add("--output", metavar="DIR", required=True, help="gets state/, previews/, log.jsonl and, at the end, checkpoint/")
    add("--preset", metavar="NAME", help="tiny, fer2013-48, fashion-mnist-32, rgb-32, rafdb-96; not with --init")
    add("--init", metavar="CHECKPOINT", help=f"fine-tune: start from {checkpoint}")
    add("--images", metavar="N", type=int, help="training images to see; the horizon of every schedule")
    add("--minutes", metavar="M", type=float, help="end this sitting after M minutes; the state is saved")
    add("--seed")
    add("--device")
    add(
        "--precision",
        choices=("auto", "fp32", "bf16", "fp16"),
        default="auto",
        help="default: auto, bf16 on a GPU that has it, else fp32",
    )
    add("--validation", metavar="DATA", help="held-out images (default: a slice of DATA that is not trained on)")
    add("--imbalance", metavar="R", type=float, help="cut DATA to a long tail, the rarest class R times rarer")
    add("--sampling", choices=("natural", "balanced"), default="natural", help="balanced: each class equally often")
    add("--batch", metavar="N", type=int, help="images per step over all processes (default: 64)")
    add("--accumulate", metavar="N", type=int, default=1, help="compute each batch in N parts, to save memory")
    add("--compile", action="store_true", help="run the networks through torch.compile")
    add("--skip-bad")

    add = verb(
        _fit,
        "New class statistics for your own classes on an existing checkpoint; no training.",
        "fit fer2013-48 faces/train --output my-checkpoint",
    )
    add("checkpoint")
    add("data")
    add("--output", metavar="DIR", required=True, help="the new artifact; must not exist")
    add("--device")
    add("--skip-bad")

    add = verb(
        _encode,
        "Encode a data set once, so that augmenting it costs the decoder alone (LatentCache).",
        "encode fer2013-48 faces/train --output latents.safetensors",
    )
    add("checkpoint")
    add("data")
    add("--output", metavar="FILE", required=True, help="must not exist")
    add("--reconstructions", action="store_true", help="keep the decoded images too, which detail mode subtracts")
    add("--device")
    add("--skip-bad")

    add = verb(
        _expand,
        "Write an expanded data set, originals and new images. Running the same command again goes on.",
        "expand fer2013-48 faces/train --output balanced --balance",
    )
    add("checkpoint")
    add("data")
    add("--output", metavar="DIR", required=True, help="new, empty, or begun by the same command")
    add("--balance", action="store_true", help="raise every class to the largest")
    add("--per-class", metavar="N", type=int, help="raise every class to N images, originals included")
    add("--times", metavar="K", type=int, help="K times as many images of every class, originals included")
    add("--strength", metavar="S", type=float, help="scale of the covariance (default: the checkpoint's own)")
    add("--mode", choices=("detail", "decode"), help="default: the checkpoint's own")
    add("--perturbation", metavar="NAME", default="covariance", help="as of SemanticAugment; default: covariance")
    add("--seed")
    add("--format", choices=("folder", "webdataset"), default="folder", help="an image folder (default), or tar shards")
    add(
        "--originals",
        choices=("link", "copy", "symlink"),
        default="link",
        help="in a folder: hard links, copies across file systems (default), copies, or symbolic links",
    )
    add("--engine", choices=("local", "ray"), default="local", help="ray: actors on a Ray cluster, or on this machine")
    add("--verify", metavar="N", type=int, help="in the end, make N new images again and compare them bit for bit")
    add("--device")
    add("--skip-bad")

    add = verb(
        _evaluate,
        "Quality of a checkpoint on held-out images: reconstruction, realism, diversity, class agreement.",
        "evaluate fer2013-48 faces/validation --train faces/train --json figures.json",
    )
    add("checkpoint")
    add("data", help=f"held-out images, {data}")
    add("--train", metavar="DATA", help="real images to train the judge classifier on, where there is none yet")
    add("--judge", metavar="FILE", help=f"where the judge is kept (default: {JUDGE})")
    add("--compared", metavar="N", type=int, default=2000, help="augment and judge at most N images (default: 2000)")
    add("--json", metavar="FILE", help="also write the figures there")
    add("--picture", metavar="PNG", help="an image of each class, and what the judge says of its augmentations")
    add("--seed")
    add("--device")
    add("--skip-bad")

    add = verb(
        _preview,
        "Pictures of what a checkpoint does: one as PNG, or all of them as an HTML page that needs no network.",
        "preview fer2013-48 faces/validation --output page.html",
    )
    add("checkpoint")
    add("data", nargs="?", help=drawn)
    add("--output", metavar="FILE", required=True, help="NAME.png or NAME.html")
    add(
        "--figure",
        metavar="NAME",
        help="counts, augmentations, pairs, balanced, strengths, directions, overview or samples "
        "(default: overview, without DATA samples; on a page all)",
    )
    add("--per-class", metavar="N", type=int, default=1, help="images of each class, where it shows these (default: 1)")
    add("--seed")
    add("--skip-bad")

    add = verb(_app, "A page to play with, served on this machine (Gradio).", "app fer2013-48 faces/validation")
    add("checkpoint", nargs="?", default="fer2013-48", help=f"{checkpoint}; default: fer2013-48")
    add("data", nargs="?", help=drawn)
    add("--judge", metavar="FILE", help="a judge, as evaluate keeps it, to say which class it sees")
    add("--host", metavar="H", default="127.0.0.1", help="default: 127.0.0.1, this machine alone")
    add("--port", metavar="P", type=int, help="default: the first free one from 7860 on")
    add("--share", action="store_true", help="a public link, through Gradio's servers")
    add("--skip-bad")

    add = verb(_inspect, "What a checkpoint holds: classes, counts, sizes, hashes, figures.", "inspect fer2013-48")
    add("checkpoint")

    add = verb(
        _push,
        "Upload a checkpoint to the Hugging Face Hub, with the pictures preview.png and samples.png beside it.",
        "push my-checkpoint user/repo --tag v1.0",
    )
    add("checkpoint")
    add("repository", metavar="USER/REPO", help="made where there is none; the token is HF_TOKEN or `hf auth login`'s")
    add("--private", action="store_true", default=None, help="make a new repository private")
    add("--tag", metavar="NAME", help="a new name for this state of the repository, such as v1.0")
    add("--license", metavar="ID", help="for the card of a checkpoint that has none, such as apache-2.0")
    add("--message", metavar="TEXT", help="what the commit says")
    return parser


# --- Verbs ------------------------------------------------------------------------------------------------------


def _demo(options: argparse.Namespace) -> None:
    from semantic_aug import preview
    from semantic_aug.artifact import Artifact
    from semantic_aug.demo import measure

    output = _png(options.output, "--output")
    artifact = Artifact.load(options.checkpoint)
    if options.data is None:
        print(f"no DATA given: the sources are drawn by {options.checkpoint} itself, of nobody")
    sources = _sources(artifact, options, skip_bad=True)
    for line in measure(artifact, sources.images, sources.labels):
        print(line)
    chosen = preview.first_of_each_class(sources.labels)
    preview.save(preview.overview(artifact, sources.images[chosen], sources.labels[chosen]), output)
    print(f"wrote {output}")


def _train(options: argparse.Namespace) -> None:
    from semantic_aug.artifact import Artifact
    from semantic_aug.networks import PRESETS

    if options.preset is None and options.init is None:
        raise ValueError(f"--preset is needed ({', '.join(PRESETS)}), or --init CHECKPOINT")
    if options.preset is not None and options.init is not None:
        raise ValueError("--init brings the networks of its checkpoint, so --preset cannot be given too")
    if options.preset is not None and options.preset not in PRESETS:
        raise ValueError(f"unknown preset {options.preset!r}; there are {', '.join(PRESETS)}")
    output = _outside(_directory(options.output), options.data)
    if options.minutes is not None and not options.minutes > 0:
        raise ValueError(f"--minutes must be above 0, got {options.minutes}")
    if options.imbalance is not None and not options.imbalance >= 1:
        raise ValueError(f"--imbalance must be at least 1, the ratio of equal classes, got {options.imbalance}")
    device = _device(options.device)
    init = None if options.init is None else Artifact.load(options.init)
    network = init.network if init else PRESETS[options.preset]

    from semantic_aug.trainer import distributed
    from semantic_aug.trainer.config import TrainConfig
    from semantic_aug.trainer.data import cut_to_imbalance, hold_out, load_data
    from semantic_aug.trainer.loop import STATE, train

    settings = {
        "seed": options.seed,
        "precision": _precision(options.precision, device),
        "sampling": options.sampling,
        "accumulate": options.accumulate,
        "init": init.fingerprint if init else "",
    }
    if options.batch is not None:
        settings["batch"] = options.batch
    if options.images is not None:  # a short run also wants its lines and snapshots
        settings |= {
            "images": options.images,
            "log_images": min(TrainConfig.log_images, -(-options.images // 20)),
            "snapshot_images": min(TrainConfig.snapshot_images, -(-options.images // 10)),
        }
    # A wrong setting is refused before any image is read.
    TrainConfig(network=network, **settings).share(distributed.launched())
    processes = distributed.join(device)
    held_out = None
    if options.validation:
        held_out = load_data(options.validation, network.channels, network.image_size, skip_bad=options.skip_bad)
    with processes.main_process_first():  # the others find its cache
        everything = load_data(
            options.data,
            network.channels,
            network.image_size,
            skip_bad=options.skip_bad,
            cache=output / STATE / "cache",
        )
    if processes.is_main_process:
        _say_skipped(everything.skipped)
    if options.imbalance is not None:
        everything = cut_to_imbalance(everything, options.imbalance, options.seed)
    if len(everything.classes) == 1 and processes.is_main_process:
        print(f"one class only ({everything.classes[0]}): its covariance is also the pooled one")
    if max(everything.counts()) < 2:
        raise ValueError("no class has two images, so no covariance would be known; use more images per class")
    if held_out is not None:
        training, held_out = everything, held_out.with_classes(everything.classes)
    else:
        training, held_out = hold_out(everything, TrainConfig.held_out, options.seed)
    config = TrainConfig(
        network=network, data=dict(zip(everything.classes, training.counts(), strict=True)), **settings
    )
    train(
        config, training, held_out, output, every_image=everything, init=init, device=device, compile=options.compile,
        minutes=options.minutes, command=options.command,
    )  # fmt: skip


def _fit(options: argparse.Namespace) -> None:
    from dataclasses import replace

    from semantic_aug.artifact import Artifact
    from semantic_aug.trainer import distributed
    from semantic_aug.trainer.evaluate import reconstruction
    from semantic_aug.trainer.fit import fit_statistics

    output = _new(options.output)
    device = _device(options.device)
    artifact = Artifact.load(options.checkpoint)
    processes = distributed.join(device)
    artifact = artifact.to(processes.device)
    data = _load(artifact, options.data, skip_bad=options.skip_bad, same_classes=False)
    statistics = fit_statistics(artifact.encoder, data)
    statistics.factors(artifact.shrinkage)  # raises where no class has two images
    fitted = replace(
        artifact,
        statistics=statistics,
        classes=data.classes,
        reconstruction=reconstruction(artifact, data),
        training=artifact.training
        | {
            "fitted_from": Path(options.checkpoint).name,
            "fitted_on": len(data),
            "fitted_in_processes": processes.num_processes,
        },
        card="",
    )
    if processes.is_main_process:
        fitted.save(output)
        print(f"wrote {output}: {len(data)} images, {len(data.classes)} classes")
        few = [f"{name} ({n})" for name, n in zip(data.classes, data.counts(), strict=True) if n < 2]
        if few:
            print(f"too few images for a covariance of their own, the pooled one is taken: {', '.join(few)}")
        if "l1_mean" in artifact.reconstruction:
            own, error = artifact.reconstruction["l1_mean"], fitted.reconstruction["l1_mean"]
            print(f"reconstruction error (L1) {error:.3f}; of {options.checkpoint} on images of its own {own:.3f}")
            _warn_of_strangers(fitted, lambda i: data.batch(slice(i, i + 1)), len(data))


def _encode(options: argparse.Namespace) -> None:
    from semantic_aug.artifact import Artifact
    from semantic_aug.latents import LatentCache

    output = _new(_writable(options.output))
    device = _device(options.device)
    artifact = Artifact.load(options.checkpoint)
    data = _load(artifact, options.data, skip_bad=options.skip_bad, same_classes=False)
    if not all(path.is_file() for path in data.files):
        raise ValueError(f"{options.data} has no file for each image; call LatentCache.build with your own data set")
    cache = LatentCache.build(
        output, artifact.to(device), data.images, files=data.files, reconstructions=options.reconstructions
    )
    print(f"wrote {output}: {len(cache)} images, {output.stat().st_size / 1e6:.1f} MB")


def _expand(options: argparse.Namespace) -> None:
    from contextlib import nullcontext
    from dataclasses import asdict
    from importlib.util import find_spec

    from semantic_aug import expand
    from semantic_aug.artifact import Artifact
    from semantic_aug.functional import model_input
    from semantic_aug.images import tensor_to_unit
    from semantic_aug.labels import label_table
    from semantic_aug.layouts import LAYOUTS, folder_names
    from semantic_aug.plan import Originals, Plan, new_images
    from semantic_aug.progress import shown
    from semantic_aug.recipe import Recipe
    from semantic_aug.trainer import distributed
    from semantic_aug.trainer.data import readable, stamp
    from semantic_aug.trainer.sources import find_source

    output = _outside(_directory(_writable(options.output)), options.data)
    device = _device(options.device)
    if options.verify is not None and options.verify < 1:
        raise ValueError(f"--verify must be at least 1, got {options.verify}")
    artifact = Artifact.load(options.checkpoint)
    recipe = Recipe.of(
        artifact, strength=options.strength, mode=options.mode, perturbation=options.perturbation, seed=options.seed
    )
    source = find_source(options.data)
    label_table(source.classes, artifact.classes)
    folder_names(source.classes)
    target = {"balance": options.balance, "per_class": options.per_class, "times": options.times}
    new_images([1], **target)
    run = {"data": stamp(source), "classes": source.classes, "target": target, "layout": options.format}
    engine = expand.in_threads
    if options.engine == "ray":
        if find_spec("ray") is None:
            raise ValueError('--engine ray needs Ray: pip install "semantic-aug[ray]"')
        if distributed.launched() > 1:
            raise ValueError("--engine ray starts processes of its own; run it without torchrun")
        from semantic_aug.cluster import in_actors as engine

    def unreadable() -> list[int]:
        return sorted({*range(len(source.files))}.difference(readable(source, skip_bad=options.skip_bad).tolist()))

    if distributed.launched() > 1:
        device = str(distributed.join(device).device)
    rank, world_size = distributed.rank_and_world()
    run |= asdict(recipe) | expand.made_with(device) | {"originals": options.originals}
    with expand.begun(output, run, unreadable) if rank == 0 else nullcontext():
        distributed.wait()
        skipped = expand.recorded(output)["skipped"]
        originals = Originals.of(source, skipped)
        plan = Plan(originals, new_images(originals.counts(), **target), recipe.seed)
        layout = LAYOUTS[options.format](output, originals, plan, artifact, recipe, device, options.originals)
        total, done, finished = expand.work(layout, rank=rank, world_size=world_size, engine=engine)
        if rank == 0:
            _say_skipped(len(skipped))
            there = f", {done} of them there already" if done else ""
            there = there if len(plan) else ": every class has as many images as are asked for"
            print(f"{len(originals.files)} originals, {len(plan)} new images{there}")
            _warn_of_strangers(
                artifact,
                lambda i: model_input(tensor_to_unit(originals.read(i))[None], artifact),
                len(originals.files),
            )
        try:
            shown(finished, total, done, "new images", silent=rank != 0)
        except KeyboardInterrupt:
            print("stopped; the same command goes on")
            raise
        distributed.wait()
        if rank == 0:
            images = len(originals.files) + expand.finish(layout)
            print(f"wrote {output}: {images} images, {len(source.classes)} classes")
            if options.verify:
                wrong = expand.differing(output, artifact, options.verify, device=device)
                if wrong:
                    raise RuntimeError(
                        f"{len(wrong)} images differ from what the manifest makes: {', '.join(wrong[:9])}"
                    )
                print(f"made {min(options.verify, len(plan))} images again: equal bit for bit")


def _evaluate(options: argparse.Namespace) -> None:
    from semantic_aug import preview
    from semantic_aug.artifact import Artifact
    from semantic_aug.trainer import distributed, evaluate
    from semantic_aug.trainer.perceptual import Perceptual

    if options.compared < 2:
        raise ValueError(f"--compared must be at least 2, got {options.compared}")
    device = _device(options.device)
    output = [] if options.json is None else [_writable(options.json)]
    if options.picture is not None:
        output.append(_png(options.picture, "--picture"))
    artifact = Artifact.load(options.checkpoint)
    processes = distributed.join(device)
    artifact = artifact.to(processes.device)
    data = _load(artifact, options.data, skip_bad=options.skip_bad, same_classes=False)
    judge = _judge(options, artifact, data)
    if options.picture is not None and judge is None:
        raise ValueError("--picture shows the judge's verdicts; give --train DATA, or --judge FILE that is there")
    perceptual = Perceptual().to(artifact.device)
    said = print if processes.is_main_process and sys.stderr.isatty() else None
    figures = evaluate.quality(
        artifact, data, judge=judge, perceptual=perceptual, compared=options.compared, seed=options.seed, say=said
    )
    if not processes.is_main_process:
        return
    text = json.dumps(figures, indent=1)
    print(text)
    if options.json is not None:
        Path(options.json).write_text(text + "\n", encoding="utf-8")
    if options.picture is not None and judge is not None:
        preview.save(evaluate.picture(artifact, data, judge, seed=options.seed), options.picture)
    for path in output:
        print(f"wrote {path}", file=sys.stderr)


def _judge(options: argparse.Namespace, artifact: "Artifact", data: "ImageSet") -> "Judge | None":
    """The judge of ``--judge``, trained on ``--train`` where there is none yet and kept there."""
    from semantic_aug.trainer import distributed
    from semantic_aug.trainer.judge import Judge, train_judge
    from semantic_aug.trainer.sources import find_source

    path = Path(options.judge or JUDGE)
    if options.judge is None and options.train is None:
        print("no --judge and no --train: class agreement is left out", file=sys.stderr)
        return None
    if path.exists():
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
        print(f"judge: {path}, trained on {judge.images} images before", file=sys.stderr)
        return judge
    if options.train is None:
        raise FileNotFoundError(f"{path}: no such judge; --train DATA trains it on real images and keeps it there")
    _writable(str(path))
    processes = distributed.join(options.device)
    if processes.is_main_process:
        training = _load(artifact, options.train, skip_bad=options.skip_bad, same_classes=False)
        precision = _precision("auto", str(artifact.device))
        print(f"training the judge on {len(training)} real images", file=sys.stderr)
        judge = train_judge(
            training, data, seed=options.seed, device=str(artifact.device), precision=precision,
            say=lambda line: print(line, file=sys.stderr),
        )  # fmt: skip
        judge.save(path)
    processes.wait_for_everyone()
    return Judge.load(path)


def _preview(options: argparse.Namespace) -> None:
    from semantic_aug import page, preview
    from semantic_aug.artifact import Artifact
    from semantic_aug.figures import FIGURES

    output = _writable(options.output)
    whole_page = output.suffix.lower() == ".html"
    if not whole_page and output.suffix.lower() != ".png":
        raise ValueError(f"--output must end in .png or .html, got {output.name}")
    if options.per_class < 1:
        raise ValueError(f"--per-class must be at least 1, got {options.per_class}")
    if options.figure is not None and options.figure not in FIGURES:
        raise ValueError(f"unknown figure {options.figure!r}; there are {', '.join(FIGURES)}")
    default = list(FIGURES) if whole_page else ["overview" if options.data else "samples"]
    artifact = Artifact.load(options.checkpoint)
    sources = _sources(artifact, options, skip_bad=options.skip_bad)
    figures = {
        name: FIGURES[name](artifact, sources, per_class=options.per_class, seed=options.seed)
        for name in ([options.figure] if options.figure else default)
    }
    if whole_page:
        page.save(page.page(artifact, Path(options.checkpoint).name, sources, figures, options.command), output)
    else:
        (figure,) = figures.values()
        preview.save(figure.picture(), output)
    print(f"wrote {output}")


def _app(options: argparse.Namespace) -> None:
    from semantic_aug import app
    from semantic_aug.artifact import Artifact
    from semantic_aug.trainer.judge import Judge

    artifact = Artifact.load(options.checkpoint)
    judge = Judge.load(options.judge) if options.judge else None
    sources = _sources(artifact, options, skip_bad=options.skip_bad)
    app.serve(
        artifact, Path(options.checkpoint).name, sources, judge, host=options.host, port=options.port,
        share=options.share,
    )  # fmt: skip


def _inspect(options: argparse.Namespace) -> None:
    from semantic_aug.artifact import CONFIG, Artifact

    artifact = Artifact.load(options.checkpoint)
    assert artifact.directory is not None
    config = json.loads((artifact.directory / CONFIG).read_text(encoding="utf-8"))
    print(f"{config['format']} at {artifact.directory}")
    print("classes (training images)")
    for name, count in zip(artifact.classes, config["counts"], strict=True):
        print(f"  {name:<20} {count:>9}")
    for name, network in (("encoder", artifact.encoder), ("generator", artifact.generator)):
        print(f"{name}: {sum(parameter.numel() for parameter in network.parameters())} parameters")
    for name, file in config["files"].items():
        print(f"{name}: {file['bytes']} bytes, sha256 {file['sha256']}")
    for section in ("network", "recommended", "reconstruction", "training"):
        print(section)
        for name, value in config[section].items():
            print(f"  {name}: {value}")


def _push(options: argparse.Namespace) -> None:
    from semantic_aug.artifact import Artifact

    artifact = Artifact.load(options.checkpoint)
    pushed = artifact.push_to_hub(
        options.repository, private=options.private, tag=options.tag, license=options.license,
        commit_message=options.message,
    )  # fmt: skip
    print(f'pushed; load it with SemanticAugment(checkpoint="{pushed}")')


# --- Shared by the verbs ----------------------------------------------------------------------------------------


def _load(artifact: "Artifact", folder: str, *, skip_bad: bool, same_classes: bool = True) -> "ImageSet":
    """An image folder as the artifact takes it; with ``same_classes`` its labels are mapped by name."""
    from semantic_aug.trainer.data import load_data

    network = artifact.network
    data = load_data(folder, network.channels, network.image_size, skip_bad=skip_bad)
    _say_skipped(data.skipped)
    return data.with_classes(artifact.classes) if same_classes else data


def _sources(artifact: "Artifact", options: argparse.Namespace, *, skip_bad: bool) -> "Sources":
    """The images of DATA, or, without it, images that the artifact draws."""
    from semantic_aug.demo import draw
    from semantic_aug.figures import Sources

    if options.data is None:
        return Sources(*draw(artifact))
    data = _load(artifact, options.data, skip_bad=skip_bad)
    folder = Path(options.data)
    name = folder.resolve().name if folder.is_dir() else options.data.partition("@")[0]  # no path of this machine
    return Sources(data.images, data.labels, name)


def _warn_of_strangers(artifact: "Artifact", read: "Callable[[int], Tensor]", n: int) -> None:
    """Look at some of ``n`` images, each (1, channels, S, S) in [-1, 1], and say if they are not the checkpoint's."""
    from semantic_aug.domain import IMAGES, Domain

    domain = Domain()
    for number in sorted({i * n // IMAGES for i in range(IMAGES)}):
        domain.look(read(number).to(artifact.device), artifact)
    complaint = domain.complaint(artifact)
    if complaint:
        print(f"warning: {complaint}", file=sys.stderr)


def _recorded(word: str) -> str:
    """A word of the command line as artifacts and pages record it: without the paths of this machine."""
    option, equals, value = word.partition("=")
    if option.startswith("-") and equals:
        return f"{option}={_recorded(value)}"
    if re.match(r"\w+:", word):
        return word.partition("@")[0]
    return os.path.basename(word.rstrip("/")) if os.path.isabs(word) or os.path.exists(word) else word


def _say_skipped(skipped: int) -> None:
    if skipped:
        print(f"left out {skipped} images that cannot be read")


def _writable(path: str) -> Path:
    if not Path(path).absolute().parent.is_dir():
        raise FileNotFoundError(f"{Path(path).parent}: no such folder to write {Path(path).name} to")
    return Path(path)


def _png(path: str, option: str) -> Path:
    if Path(path).suffix.lower() != ".png":
        raise ValueError(f"{option} must end in .png, got {Path(path).name}")
    return _writable(path)


def _directory(path: str | Path) -> Path:
    if Path(path).exists() and not Path(path).is_dir():
        raise ValueError(f"{path} is a file; --output takes a directory")
    return Path(path)


def _outside(output: Path, data: str) -> Path:
    if Path(data).is_dir() and output.resolve().is_relative_to(Path(data).resolve()):
        raise ValueError(f"{output} lies in {data}, whose images would then change; choose another --output")
    return output


def _new(path: str | Path) -> Path:
    if Path(path).exists():
        raise FileExistsError(f"{path} exists; choose another --output")
    return Path(path)


def _device(name: str | None) -> str:
    import torch

    available = ["cpu"] + (["mps"] if torch.backends.mps.is_available() else [])
    available = [f"cuda:{i}" for i in range(torch.cuda.device_count())] + available
    from semantic_aug.trainer.distributed import launched

    if launched() > 1:  # each process of several takes a GPU of its own
        name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    if name is None:
        return available[0]
    known = [*available, "cuda"] if torch.cuda.is_available() else available
    if name not in known:
        raise ValueError(f"device {name!r} is not there; this machine has {', '.join(available)}")
    return name


def _precision(name: str, device: str) -> str:
    import torch

    if name != "auto":
        return name
    return "bf16" if device.startswith("cuda") and torch.cuda.is_bf16_supported() else "fp32"
