"""``semantic-aug expand``: an expanded data set, originals and new images."""

import argparse
from contextlib import nullcontext
from dataclasses import asdict
from importlib.util import find_spec

from semantic_aug import _distributed
from semantic_aug.cli.data import say_skipped, warn_of_strangers
from semantic_aug.cli.devices import chosen_device
from semantic_aug.cli.paths import directory, outside, writable
from semantic_aug.cli.progress import shown
from semantic_aug.data.dataset import readable, stamp
from semantic_aug.data.source import find_source
from semantic_aug.expansion import run as expansion
from semantic_aug.expansion.layouts import LAYOUTS, folder_names
from semantic_aug.expansion.plan import Originals, Plan, new_images
from semantic_aug.expansion.recipe import Recipe
from semantic_aug.functional import model_input
from semantic_aug.images import tensor_to_unit
from semantic_aug.labels import label_table
from semantic_aug.model.artifact import Artifact


def run(options: argparse.Namespace) -> None:
    """Write it to ``--output``, or go on where the same command stopped, in one process or several."""
    output = outside(directory(writable(options.output)), options.data)
    device = chosen_device(options.device)
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
    engine = expansion.in_threads
    if options.engine == "ray":
        if find_spec("ray") is None:
            raise ValueError('--engine ray needs Ray: pip install "semantic-aug[ray]"')
        if _distributed.launched() > 1:
            raise ValueError("--engine ray starts processes of its own; run it without torchrun")
        from semantic_aug.expansion.ray import in_actors as engine

    def unreadable() -> list[int]:
        return sorted({*range(len(source.files))}.difference(readable(source, skip_bad=options.skip_bad).tolist()))

    if _distributed.launched() > 1:
        device = str(_distributed.join(device).device)
    rank, world_size = _distributed.rank_and_world()
    run |= asdict(recipe) | expansion.made_with(device) | {"originals": options.originals}
    with expansion.begun(output, run, unreadable) if rank == 0 else nullcontext():
        _distributed.wait()
        skipped = expansion.recorded(output)["skipped"]
        originals = Originals.of(source, skipped)
        plan = Plan(originals, new_images(originals.counts(), **target), recipe.seed)
        layout = LAYOUTS[options.format](output, originals, plan, artifact, recipe, device, options.originals)
        total, done, finished = expansion.work(layout, rank=rank, world_size=world_size, engine=engine)
        if rank == 0:
            say_skipped(len(skipped))
            there = f", {done} of them there already" if done else ""
            there = there if len(plan) else ": every class has as many images as are asked for"
            print(f"{len(originals.files)} originals, {len(plan)} new images{there}")
            warn_of_strangers(
                artifact,
                lambda i: model_input(tensor_to_unit(originals.read(i))[None], artifact),
                len(originals.files),
            )
        try:
            shown(finished, total, done, "new images", silent=rank != 0)
        except KeyboardInterrupt:
            print("stopped; the same command goes on")
            raise
        _distributed.wait()
        if rank == 0:
            images = len(originals.files) + expansion.finish(layout)
            print(f"wrote {output}: {images} images, {len(source.classes)} classes")
            if options.verify:
                wrong = expansion.differing(output, artifact, options.verify, device=device)
                if wrong:
                    raise RuntimeError(
                        f"{len(wrong)} images differ from what the manifest makes: {', '.join(wrong[:9])}"
                    )
                print(f"made {min(options.verify, len(plan))} images again: equal bit for bit")
