"""``semantic-aug train``: a checkpoint from images."""

import argparse

from semantic_aug import _distributed
from semantic_aug.cli.data import say_skipped
from semantic_aug.cli.devices import chosen_device, chosen_precision
from semantic_aug.cli.paths import directory, outside
from semantic_aug.data.dataset import cut_to_imbalance, hold_out, load_data
from semantic_aug.model.artifact import Artifact
from semantic_aug.model.networks import PRESETS
from semantic_aug.trainer.config import TrainConfig
from semantic_aug.trainer.loop import STATE, train


def run(options: argparse.Namespace) -> None:
    """Train in ``--output``, or go on where the same command stopped; settings are checked before any image is read."""
    if options.preset is None and options.init is None:
        raise ValueError(f"--preset is needed ({', '.join(PRESETS)}), or --init CHECKPOINT")
    if options.preset is not None and options.init is not None:
        raise ValueError("--init brings the networks of its checkpoint, so --preset cannot be given too")
    if options.preset is not None and options.preset not in PRESETS:
        raise ValueError(f"unknown preset {options.preset!r}; there are {', '.join(PRESETS)}")
    output = outside(directory(options.output), options.data)
    if options.minutes is not None and not options.minutes > 0:
        raise ValueError(f"--minutes must be above 0, got {options.minutes}")
    if options.imbalance is not None and not options.imbalance >= 1:
        raise ValueError(f"--imbalance must be at least 1, the ratio of equal classes, got {options.imbalance}")
    device = chosen_device(options.device)
    init = None if options.init is None else Artifact.load(options.init)
    network = init.network if init else PRESETS[options.preset]
    settings = {
        "seed": options.seed,
        "precision": chosen_precision(options.precision, device),
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
    TrainConfig(network=network, **settings).share(_distributed.launched())
    processes = _distributed.join(device)
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
        say_skipped(everything.skipped)
    if options.imbalance is not None:
        everything = cut_to_imbalance(everything, options.imbalance)
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
