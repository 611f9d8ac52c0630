"""``semantic-aug expand``: write an expanded data set with originals and new images."""

import argparse
from contextlib import nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING

from semantic_aug.cli.options import Add
from semantic_aug.cli.paths import directory, outside, writable

if TYPE_CHECKING:
    from semantic_aug.data.source import Source
    from semantic_aug.expansion.run import Engine

SUMMARY = "Write an expanded data set with originals and new images. Run the same command again to continue."
NEXT = {
    "folder": 'train on it as on any image folder, for example with ImageFolder("{}")',
    "webdataset": "train on the shards in {} with the package webdataset",
}
EXAMPLE = "expand fer2013-48 faces/train --output balanced --balance"


def add_options(add: Add) -> None:
    """Describe the verb's options."""
    add("checkpoint")
    add("data")
    add(
        "--output",
        metavar="DIR",
        required=True,
        help="folder to write, which must be new, empty, or begun by the same command",
    )
    add("--balance", action="store_true", help="raise every class to the size of the largest")
    add("--per-class", metavar="N", type=int, help="raise every class to N images, originals included")
    add("--times", metavar="K", type=int, help="make every class K times as large, originals included")
    add("--strength", metavar="S", type=float, help="scale of the covariance (default: as the checkpoint recommends)")
    add("--mode", choices=("detail", "decode"), help="default: as the checkpoint recommends")
    add(
        "--perturbation",
        metavar="NAME",
        default="covariance",
        help="a perturbation of SemanticAugment (default: covariance)",
    )
    add("--seed")
    add("--format", choices=("folder", "webdataset"), default="folder", help="an image folder (default), or tar shards")
    add(
        "--originals",
        choices=("link", "copy", "symlink", "png"),
        help="how the originals get into the output: as hard links, or copies on another file system (link, default "
        "in a folder), as copies, as symbolic links, or written as PNG like the new images (png, default in shards)",
    )
    add(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="ray: work in actors on a Ray cluster or on this machine",
    )
    add("--verify", metavar="N", type=int, help="at the end, make N new images again and compare them bit for bit")
    add("--device")
    add("--skip-bad")


def run(options: argparse.Namespace) -> None:
    """Write the data set to ``--output``, or continue where the same command stopped, in one process or several."""
    from dataclasses import asdict

    from semantic_aug import _distributed
    from semantic_aug._progress import Progress
    from semantic_aug.cli.data import find, say_skipped, warn_of_strangers
    from semantic_aug.cli.devices import chosen_device
    from semantic_aug.data.cache import stamp
    from semantic_aug.expansion import run as expansion
    from semantic_aug.expansion.layouts import LAYOUTS, folder_names
    from semantic_aug.expansion.plan import Plan, new_images
    from semantic_aug.expansion.recipe import Recipe
    from semantic_aug.functional import model_input
    from semantic_aug.images import tensor_to_unit
    from semantic_aug.labels import label_table
    from semantic_aug.model.artifact import Artifact

    options.originals = options.originals or ("link" if options.format == "folder" else "png")
    output = outside(directory(writable(options.output)), options.data)
    device = chosen_device(options.device)
    if options.verify is not None and options.verify < 1:
        raise ValueError(f"--verify must be at least 1, got {options.verify}")
    artifact = Artifact.from_pretrained(options.checkpoint)
    recipe = Recipe.of(
        artifact, strength=options.strength, mode=options.mode, perturbation=options.perturbation, seed=options.seed
    )
    target = {"balance": options.balance, "per_class": options.per_class, "times": options.times}
    new_images([1], **target)  # refuses a wrong target
    engine = choose_engine(options.engine)
    if _distributed.launched() > 1:
        device = str(_distributed.join(device).device)
    rank, world_size = _distributed.rank_and_world()
    source = find(options.data)
    label_table(source.classes, artifact.classes)
    folder_names(source.classes)
    settings = {"data": stamp(source), "classes": source.classes, "target": target, "layout": options.format}
    settings |= asdict(recipe) | expansion.made_with(device) | {"originals": options.originals}
    _distributed.check_equal(**{name: str(value) for name, value in settings.items()})
    begun = expansion.begun(output, settings, lambda: find_unreadable(source, skip_bad=options.skip_bad))
    with begun if rank == 0 else nullcontext():
        _distributed.wait()
        skipped = expansion.recorded(output)["skipped"]
        originals = source.without(skipped)
        plan = Plan(originals, new_images(originals.counts(), **target), recipe.seed)
        layout = LAYOUTS[options.format](output, originals, plan, artifact, recipe, device, options.originals)
        total, done, finished = expansion.work(layout, rank=rank, world_size=world_size, engine=engine)
        if rank == 0:
            say_skipped(len(skipped))
            there = f", {done} of them there already" if done else ""
            there = there if len(plan) else ": every class has as many images as are asked for"
            print(f"{len(originals)} originals, {len(plan)} new images{there}")
            warn_of_strangers(
                artifact,
                lambda i: model_input(tensor_to_unit(originals.read(i, None, None))[None], artifact.network),
                len(originals),
            )
        try:
            with Progress(total, done, "new images", silent=rank != 0) as progress:
                for images in finished:
                    progress.advance(images)
        except KeyboardInterrupt:
            print("stopped; the same command goes on")
            raise
        _distributed.wait()
        if stamp(source) != settings["data"]:
            raise RuntimeError(
                f"{options.data} has changed since this run began, so its images could not be made again; expand it to "
                f"another --output"
            )
        if rank == 0:
            count = len(originals) + expansion.finish(layout)
            print(f"wrote {output}: {count} images, {len(source.classes)} classes")
            if options.verify:
                wrong = expansion.differing(output, artifact, options.verify, device=device)
                if wrong:
                    raise RuntimeError(
                        f"{len(wrong)} images differ from what the manifest makes: {', '.join(wrong[:9])}"
                    )
                count = min(options.verify, len(plan))
                print(f"made {count} image{'s' * (count != 1)} again, bit-for-bit identical")
            print(f"next: {NEXT[options.format].format(output)}")


def choose_engine(name: str) -> "Engine":
    """Choose what runs the units of work. Raises ValueError if Ray is missing, or if there are several processes."""
    from semantic_aug import _distributed
    from semantic_aug.expansion.run import in_threads

    if name == "local":
        return in_threads
    if find_spec("ray") is None:
        raise ValueError('--engine ray needs Ray: pip install "semantic-aug[ray]"')
    if _distributed.launched() > 1:
        raise ValueError("--engine ray starts processes of its own; run it without torchrun")
    from semantic_aug.expansion.ray import in_actors

    return in_actors


def find_unreadable(source: "Source", *, skip_bad: bool) -> list[int]:
    """The numbers of the images that cannot be read. Raises DataError if there are any, unless ``skip_bad``."""
    from semantic_aug.data.decoding import find_readable

    return sorted({*range(len(source))}.difference(find_readable(source, skip_bad=skip_bad).tolist()))
