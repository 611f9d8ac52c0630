"""Cost of the arms of the classification benchmark: python -m benchmarks.speed.arms DATA --checkpoint C (see --help)

This runs short but complete trainings on a part of the data, including the clean epochs. The arms take turns. In each
turn, the time of an arm is divided by the time of the first arm, by default ``none``. The result is the median over the
turns. On a CPU the processor time is measured, so that other programs on the machine have little effect. The data set
is encoded only once for all runs of a checkpoint. That time is reported separately, as a fraction of a run of
``--of-epochs`` epochs.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.classification.arms import parse_arm
from benchmarks.classification.classifiers import CLASSIFIERS
from benchmarks.classification.command import find_versions, parse_setting
from benchmarks.classification.context import Context
from benchmarks.classification.protocol import VERSION, resolve
from benchmarks.classification.semantic import open_latents
from benchmarks.classification.train import train
from semantic_aug import Artifact
from semantic_aug.data.dataset import load_data

EPOCHS = 8


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure every arm. Returns the medians over the turns of the time per image and of the ratio to the first arm."""
    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    artifact = Artifact.from_pretrained(options.checkpoint)
    settings = {arm: resolve(parse_arm(arm), "natural", dict(options.set), artifact) for arm in options.arms}
    size, channels = (settings[options.arms[0]][name] for name in ("size", "channels"))
    data = load_data(options.data, channels, size)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    data = data.with_classes(artifact.classes).subset(order[: options.images])
    spent: dict[str, list[float]] = {arm: [] for arm in options.arms}
    with tempfile.TemporaryDirectory() as cache:
        context = Context(data, settings[options.arms[0]], 0, device, artifact, Path(cache))
        began = clock(device)
        open_latents(context)
        encoding = clock(device) - began
        for turn in range(options.turns + 1):  # the first one warms up
            for arm in options.arms:
                run = {"arm": arm, "base": "natural", "classifier": options.classifier, "seed": 0, "epochs": EPOCHS}
                began = clock(device)
                train(run | {"settings": settings[arm]}, data, artifact, device, cache=Path(cache))
                if turn:
                    spent[arm].append(clock(device) - began)
    first = spent[options.arms[0]]
    ratios = {
        arm: statistics.median(own / base for own, base in zip(times, first, strict=True))
        for arm, times in spent.items()
    }
    per_image = {arm: statistics.median(times) / EPOCHS / len(data) for arm, times in spent.items()}
    return {
        "arms": {
            arm: {"ratio": round(ratios[arm], 3), "ms_per_image": round(1000 * per_image[arm], 3)} for arm in spent
        },
        "encoding": round(encoding / len(data) / options.of_epochs / per_image[options.arms[0]], 3),
        "of_epochs": options.of_epochs,
        "classifier": options.classifier,
        "size": size,
        "channels": channels,
        "checkpoint": Path(options.checkpoint).name,
        "fingerprint": artifact.fingerprint[:12],
        "images": len(data),
        "turns": options.turns,
        "protocol": VERSION,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
        "versions": find_versions(),
    }


def clock(device: torch.device) -> float:
    """Processor time in seconds on a CPU. On a GPU, wait for it and return wall-clock time in seconds."""
    if device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write the results. Returns 0, or 2 if something is rejected."""
    options = _parser().parse_args(arguments)
    try:
        found = measure(options)
    except (ValueError, OSError) as error:
        print(f"arms: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    for arm, figures in found["arms"].items():
        print(f"{arm:<28} {figures['ms_per_image']:8.3f} ms per image  {figures['ratio']:6.3f}")
    print(f"encoding once: {found['encoding']:.3f} of a run of {options.of_epochs} epochs of {options.arms[0]}")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("data", metavar="DATA", help="any source that semantic-aug train accepts, with the checkpoint's classes")
    add("--checkpoint", metavar="CHECKPOINT", default="fer2013-48")
    add("--arms", metavar="ARM", nargs="+", default=["none", "ours", "randaugment", "ours+randaugment"])
    add("--classifier", choices=tuple(CLASSIFIERS), default="resnet18-quarter")
    add("--set", metavar="NAME=VALUE", nargs="+", type=parse_setting, default=[], help="settings for all arms")
    add("--images", metavar="N", type=int, default=512, help="number of images (default: 512)")
    add("--turns", metavar="N", type=int, default=3, help="default: 3")
    add("--of-epochs", metavar="N", type=int, default=60, help="length of a run to relate encoding to (default: 60)")
    add("--device", metavar="D", help="default: cuda if available, otherwise cpu")
    add("--json", metavar="FILE", type=Path)
    return parser


if __name__ == "__main__":
    sys.exit(main())
