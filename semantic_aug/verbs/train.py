"""``semantic-aug train``: a checkpoint from images."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import MISSING, fields, replace
from typing import Any

from semantic_aug.artifact import Artifact
from semantic_aug.networks import PRESETS, NetworkConfig
from semantic_aug.trainer import distributed
from semantic_aug.trainer.config import TrainConfig
from semantic_aug.trainer.data import cut_to_imbalance, hold_out, load_data
from semantic_aug.trainer.loop import STATE, train
from semantic_aug.verbs.data import say_skipped
from semantic_aug.verbs.devices import chosen_device, chosen_precision
from semantic_aug.verbs.paths import directory, outside

OPTIONS = ("init", "images", "batch", "accumulate", "sampling", "precision", "seed")  # have options of their own


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
    given, given_network = _given(options.set)
    if init and given_network:
        raise ValueError(f"--init brings its networks, so network.{min(given_network)} cannot be set")
    network = init.network if init else replace(PRESETS[options.preset], **given_network)
    settings: dict[str, Any] = {
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
    settings |= given
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
        say_skipped(everything.skipped)
    if options.imbalance is not None:
        everything = cut_to_imbalance(everything, options.imbalance)
    if init is None and "num_classes" not in given_network and len(everything.classes) > 1:
        network = replace(network, num_classes=len(everything.classes))
    elif init is not None and init.conditional and init.classes != everything.classes:
        raise ValueError(
            f"{options.init} is conditional on the classes {init.classes}, the data has {everything.classes}; "
            f"semantic-aug fit makes a checkpoint of it for other classes, which --init takes"
        )
    if max(everything.counts()) < 2:
        raise ValueError("no class has two images, so no covariance would be known; use more images per class")
    if held_out is not None:
        training, held_out = everything, held_out.with_classes(everything.classes)
    else:
        training, held_out = hold_out(everything, settings.get("held_out", TrainConfig.held_out), options.seed)
    config = TrainConfig(
        network=network, data=dict(zip(everything.classes, training.counts(), strict=True)), **settings
    )
    train(
        config, training, held_out, output, every_image=everything, init=init, device=device, compile=options.compile,
        minutes=options.minutes, command=options.command,
    )  # fmt: skip


def _given(assignments: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """``NAME=VALUE`` of fields of TrainConfig, and ``network.NAME=VALUE`` of NetworkConfig, each as a dictionary."""
    settings: dict[str, Any] = {}
    network: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        of_network = name.startswith("network.")
        known = {
            field.name: field.default
            for field in fields(NetworkConfig if of_network else TrainConfig)
            if field.default is not MISSING and field.name not in OPTIONS
        }
        key = name.removeprefix("network.")
        if not equals or key not in known:
            raise ValueError(f"--set takes NAME=VALUE, got {assignment!r}; names are {', '.join(known)}")
        (network if of_network else settings)[key] = _value(name, text, known[key])
    return settings, network


def _value(name: str, text: str, default: Any) -> Any:
    """``text`` as a value of the kind of ``default``; None stands for a bool that is decided later."""
    if isinstance(default, str):
        return text
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    kind = bool if default is None else type(default)
    if type(value) is not kind and not (kind is float and type(value) is int):
        expected = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
        raise ValueError(f"--set {name}: expected {expected}, got {text!r}")
    return value
