"""``semantic-aug train``: train a checkpoint on images."""

import argparse
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from semantic_aug.cli.options import CHECKPOINT, Add
from semantic_aug.cli.paths import directory, outside

if TYPE_CHECKING:
    from semantic_aug.data.dataset import ImageSet
    from semantic_aug.model.networks import NetworkConfig

SUMMARY = "Train a checkpoint. Run the same command again to continue where it stopped."
EXAMPLE = "train faces/train --output runs/faces --preset fer2013-48 --minutes 60"
# For the bundled checkpoints, the reconstruction error of an image has a standard deviation of a quarter of its mean.
# With 30 images, the mean is then known to 5 %.
FEW = 30


def add_options(add: Add) -> None:
    """Describe the verb's options."""
    add("data")
    add(
        "--output",
        metavar="DIR",
        required=True,
        help="folder for the state, the log, previews and, at the end, checkpoint/",
    )
    add("--preset", metavar="NAME", help="networks to train: tiny, fer2013-48, fashion-mnist-32, rgb-32, rafdb-96")
    add("--init", metavar="CHECKPOINT", help=f"fine-tune this checkpoint instead of a preset: {CHECKPOINT}")
    add(
        "--images",
        metavar="N",
        type=int,
        help="length of the run in training images seen, counting repeats (default: 300000)",
    )
    add(
        "--minutes", metavar="M", type=float, help="save the state and stop after M minutes; the same command continues"
    )
    add("--seed")
    add("--device")
    add(
        "--precision",
        choices=("auto", "fp32", "bf16", "fp16"),
        default="auto",
        help="number format (default: auto, which is bf16 on a GPU that supports it, otherwise fp32)",
    )
    add(
        "--validation",
        metavar="DATA",
        help="held-out images to measure on (default: a part of DATA, which is then not trained on)",
    )
    add(
        "--imbalance",
        metavar="R",
        type=float,
        help="leave out images so that the largest class has R times as many as the smallest",
    )
    add(
        "--sampling",
        choices=("natural", "balanced"),
        default="natural",
        help="how often each class is seen: as often as in DATA (natural, default), or equally often (balanced)",
    )
    add("--batch", metavar="N", type=int, help="images per step, in all processes together (default: 64)")
    add(
        "--accumulate",
        metavar="N",
        type=int,
        default=1,
        help="compute each batch in N parts to save memory (default: 1)",
    )
    add("--compile", action="store_true", help="run the networks through torch.compile")
    add(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="set a field of TrainConfig, or network.FIELD for a field of NetworkConfig; may be repeated",
    )
    add("--skip-bad")


def run(options: argparse.Namespace) -> None:
    """Train in ``--output``, or continue where the same command stopped. Settings are checked before any images."""
    from semantic_aug import _distributed
    from semantic_aug._io import only_writer, own_folder, refuse_link
    from semantic_aug.cli.data import say
    from semantic_aug.cli.devices import chosen_device
    from semantic_aug.cli.settings import parse_settings
    from semantic_aug.data.dataset import hold_out
    from semantic_aug.model.artifact import Artifact
    from semantic_aug.model.networks import PRESETS
    from semantic_aug.trainer.config import TrainConfig
    from semantic_aug.trainer.loop import CHECKPOINT as RESULT
    from semantic_aug.trainer.loop import STATE, train

    output = outside(directory(options.output), options.data)
    refuse_link(output / STATE)
    check(options)
    device = chosen_device(options.device)
    init = None if options.init is None else Artifact.from_pretrained(options.init)
    given, given_network = parse_settings(options.set)
    if init and given_network:
        raise ValueError(f"--init brings its networks, so network.{min(given_network)} cannot be set")
    network = init.network if init else replace(PRESETS[options.preset], **given_network)
    settings = settings_of(options, device) | {"init": init.fingerprint if init else ""} | given
    TrainConfig(network=network, **settings).share(_distributed.launched())
    _distributed.join(device)
    everything, held_out = load_images(options, device, network)
    if init is not None and init.conditional and init.classes != everything.classes:
        raise ValueError(
            f"{options.init} is conditional on the classes {init.classes}, the data has {everything.classes}; "
            f"semantic-aug fit makes a checkpoint of it for other classes, which --init takes"
        )
    if held_out is None:
        training, held_out = hold_out(everything, settings.get("held_out", TrainConfig.held_out), options.seed)
    else:
        training = everything
    say_of_few(held_out, own=options.validation is not None)
    counts = dict(zip(everything.classes, training.counts(), strict=True))
    first = _distributed.rank_and_world()[0] == 0
    with only_writer(output, own_folder(output / STATE) / "lock") if first else nullcontext():
        artifact = train(
            TrainConfig(network=network, data=counts, **settings),
            training,
            held_out,
            output,
            every_image=everything,
            init=init,
            device=device,
            compile=options.compile,
            minutes=options.minutes,
            command=options.command,
        )
    if artifact is not None:
        say(f'next: use it with SemanticAugment(checkpoint="{output / RESULT}"), measure it with semantic-aug evaluate')


def check(options: argparse.Namespace) -> None:
    """Raise ValueError for options that are out of range or do not belong together."""
    from semantic_aug.model.networks import PRESETS

    if options.preset is None and options.init is None:
        raise ValueError(f"--preset is needed ({', '.join(PRESETS)}), or --init CHECKPOINT")
    if options.preset is not None and options.init is not None:
        raise ValueError("--init brings the networks of its checkpoint, so --preset cannot be given too")
    if options.preset is not None and options.preset not in PRESETS:
        raise ValueError(f"unknown preset {options.preset!r}; there are {', '.join(PRESETS)}")
    if options.minutes is not None and not options.minutes > 0:
        raise ValueError(f"--minutes must be above 0, got {options.minutes}")
    if options.imbalance is not None and not options.imbalance >= 1:
        raise ValueError(f"--imbalance must be at least 1, the ratio of equal classes, got {options.imbalance}")


def settings_of(options: argparse.Namespace, device: str) -> dict[str, Any]:
    """The fields of ``TrainConfig`` that options set."""
    from semantic_aug.cli.devices import chosen_precision
    from semantic_aug.trainer.config import TrainConfig

    settings: dict[str, Any] = {
        "seed": options.seed,
        "precision": chosen_precision(options.precision, device),
        "sampling": options.sampling,
        "accumulate": options.accumulate,
    }
    if options.batch is not None:
        settings["batch"] = options.batch
    if options.images is not None:  # a short run also needs log lines and snapshots
        settings |= {
            "images": options.images,
            "log_images": min(TrainConfig.log_images, -(-options.images // 20)),
            "snapshot_images": min(TrainConfig.snapshot_images, -(-options.images // 10)),
        }
    return settings


def load_images(
    options: argparse.Namespace, device: str, network: "NetworkConfig"
) -> "tuple[ImageSet, ImageSet | None]":
    """Load the images of DATA, cut to a long tail if asked for, and those of ``--validation`` with the same classes.

    Raises ValueError if the classes differ, or if no class has two images.
    """
    from semantic_aug import _distributed
    from semantic_aug.cli.data import describe, find, say, say_skipped
    from semantic_aug.data.dataset import cut_to_imbalance, load_data
    from semantic_aug.labels import label_table
    from semantic_aug.trainer.loop import STATE

    channels, size = network.channels, network.image_size
    source, held_out = find(options.data), None
    if options.validation:
        validation = find(options.validation)
        label_table(validation.classes, source.classes)  # refuses other classes before any image is read
        held_out = load_data(validation, channels, size, skip_bad=options.skip_bad).with_classes(source.classes)
        say_skipped(held_out.skipped)
    with _distributed.join(device).main_process_first():  # the others find its cache
        cache = directory(options.output) / STATE / "cache"
        everything = load_data(source, channels, size, skip_bad=options.skip_bad, cache=cache)
    say_skipped(everything.skipped)
    if options.imbalance is not None:
        everything = cut_to_imbalance(everything, options.imbalance)
        name = f"cut to imbalance {options.imbalance:g}"
        say(*describe(name, everything.classes, everything.counts()))
    if max(everything.counts()) < 2:
        raise ValueError("no class has two images, so no covariance would be known; use more images per class")
    return everything, held_out


def say_of_few(held_out: "ImageSet", *, own: bool) -> None:
    """Warn if there are too few held-out images for exact errors."""
    from semantic_aug.cli.data import say

    if len(held_out) < FEW:
        more = "use more of them" if own else "name others with --validation DATA"
        few = f"{len(held_out)} held-out image{'s' * (len(held_out) != 1)}"
        say(f"only {few}: errors measured on so few are rough; {more}")
