"""Does an expanded folder help a classifier? python -m benchmarks.classification.expand (see --help)

This is plain torchvision code, as someone would write it who has never heard of this package. It uses ImageFolder, v2
transforms, DataLoader, SGD and autocast. All arms train the same network from the same initial weights for the same
number of steps. "unbalanced" trains on the original folder. "expanded" trains on the folder that ``semantic-aug
expand`` wrote, which has both the originals and the new images. "oversampled" and "expanded-oversampled" train on the
same two folders with every class drawn equally often. To see the benefit of the new images, compare an arm that has
them with "oversampled". Each finished run adds a line to the results. If you run the same command again, it does only
the runs that are missing.

    semantic-aug expand fer2013-48 fer2013/train --output fer2013/balanced --balance
    python -m benchmarks.classification.expand fer2013/train fer2013/balanced \\
        --test fer2013/validation --name fer2013 --seeds 3
    semantic-aug expand fer2013-48 fer2013/train --output fer2013/twice --times 2
    python -m benchmarks.classification.expand fer2013/train fer2013/twice --test fer2013/validation \\
        --name fer2013 --seeds 3 \\
        --arms expanded-oversampled
"""

import argparse
import json
import platform
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, WeightedRandomSampler
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from benchmarks.classification import store
from benchmarks.classification.classifiers import CLASSIFIERS

RESULTS = Path(__file__).parents[1] / "results" / "expand.jsonl"
# For each arm: whether it trains on the new images, and whether every class is drawn equally often.
ARMS = {
    "unbalanced": (False, False), "oversampled": (False, True),
    "expanded": (True, False), "expanded-oversampled": (True, True),
}  # fmt: skip
RECIPE = ("artifact", "strength", "mode", "perturbation", "shrinkage", "seed", "target")
# Two runs are the same run if they agree in these fields.
IDENTITY = ("data", "test", "classifier", "arm", "seed", "steps", "batch", "learning_rate", "size", "expand")


def transforms(size: int, training: bool) -> v2.Compose:
    """Make images grey, ``size`` x ``size``, in [-1, 1]. For training, also flip them and shift them by up to 1/12."""
    vary = [v2.RandomHorizontalFlip(), v2.RandomCrop(size, padding=size // 12, padding_mode="edge")]
    return v2.Compose([
        v2.ToImage(), v2.Grayscale(), v2.Resize((size, size), antialias=True), *(vary if training else []),
        v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5], [0.5]),
    ])  # fmt: skip


def batches(run: dict[str, Any], folder: Path, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield ``steps`` shuffled batches, for as many epochs as that takes."""
    data = ImageFolder(folder, transforms(run["size"], training=True))
    sampler = None
    if ARMS[run["arm"]][1]:
        counts = Counter(data.targets)
        sampler = WeightedRandomSampler([1 / counts[label] for label in data.targets], len(data))
    loader = DataLoader(
        data, run["batch"], shuffle=sampler is None, sampler=sampler, num_workers=workers, drop_last=True,
        persistent_workers=workers > 0,
    )  # fmt: skip
    if not len(loader):
        raise ValueError(f"{folder} has {len(data)} images, fewer than a batch of {run['batch']}")
    done = 0
    while True:
        for batch in loader:
            if done == run["steps"]:
                return
            done += 1
            yield batch


def train(run: dict[str, Any], folder: Path, classes: int, device: str, workers: int) -> nn.Module:
    """Train the classifier of one run."""
    torch.manual_seed(run["seed"])
    network = CLASSIFIERS[run["classifier"]](1, classes).to(device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), run["learning_rate"], 0.9, nesterov=True, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, run["learning_rate"], total_steps=run["steps"], pct_start=0.2, cycle_momentum=False
    )
    for images, labels in batches(run, folder, workers):
        with torch.autocast(device, torch.bfloat16):
            logits, _ = network(images.to(device, memory_format=torch.channels_last))
        loss = cross_entropy(logits.float(), labels.to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


@torch.no_grad()
def figures(network: nn.Module, test: ImageFolder, device: str) -> dict[str, Any]:
    """Accuracy, balanced accuracy and the recall of each class, as fractions."""
    right, count = torch.zeros(len(test.classes)), torch.zeros(len(test.classes))
    for images, labels in DataLoader(test, 256):
        hit = network(images.to(device))[0].argmax(1).cpu() == labels
        right += torch.bincount(labels[hit], minlength=len(right))
        count += torch.bincount(labels, minlength=len(right))
    recall = right / count
    return {
        "accuracy": round(float(right.sum() / count.sum()), 6),
        "balanced_accuracy": round(float(recall.mean()), 6),
        "recall": dict(zip(test.classes, [round(value, 6) for value in recall.tolist()], strict=True)),
    }


def wanted(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The runs that the options ask for. All arms of a seed come before the next seed."""
    recorded = json.loads((options.expanded / "expand.json").read_text(encoding="utf-8"))
    return [
        {
            "data": options.name, "test": options.test.name, "classifier": options.classifier, "arm": arm,
            "seed": seed, "steps": options.steps, "batch": options.batch, "learning_rate": options.learning_rate,
            "size": options.size, "expand": {key: recorded[key] for key in RECIPE} if ARMS[arm][0] else None,
        }
        for seed in range(options.first_seed, options.first_seed + options.seeds)
        for arm in options.arms
    ]  # fmt: skip


def finished(path: Path) -> list[dict[str, Any]]:
    """The descriptions of the runs in a file of results."""
    return [{key: run[key] for key in IDENTITY} for run in store.read(path, IDENTITY)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Do the missing runs. Returns 0, or 2 if the arguments or the data are rejected."""
    options = _parser().parse_args(arguments)
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    folders = {arm: options.expanded if new else options.unbalanced for arm, (new, _) in ARMS.items()}
    try:
        runs = wanted(options)
        test = ImageFolder(options.test, transforms(options.size, training=False))
        for folder in set(folders.values()):
            if (classes := ImageFolder(folder).classes) != test.classes:
                raise ValueError(f"{folder} has the classes {classes}, {options.test} has {test.classes}")
    except (ValueError, OSError) as error:
        print(f"expand: {error}", file=sys.stderr)
        return 2
    for run in runs:
        if run in finished(options.results):
            continue
        began = time.perf_counter()
        network = train(run, folders[run["arm"]], len(test.classes), device, options.workers)
        seconds = time.perf_counter() - began
        result = figures(network, test, device)
        described = {
            "images": len(ImageFolder(folders[run["arm"]])),
            "images_per_s": round(run["steps"] * run["batch"] / seconds),
            "device": torch.cuda.get_device_name() if device == "cuda" else device,
            "versions": {"python": platform.python_version(), "torch": torch.__version__,
                         "torchvision": torchvision.__version__},
        }  # fmt: skip
        store.append(options.results, run | result | described)
        shown = "  ".join(f"{name} {result[name]:.4f}" for name in ("accuracy", "balanced_accuracy"))
        print(f"{run['arm']:<20} seed {run['seed']}  {shown}  {described['images_per_s']} images/s", flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("unbalanced", metavar="UNBALANCED", type=Path, help="the original image folder")
    parser.add_argument("expanded", metavar="EXPANDED", type=Path, help="the folder that semantic-aug expand wrote")
    parser.add_argument("--test", metavar="DIR", type=Path, required=True, help="an image folder to evaluate on")
    parser.add_argument("--name", metavar="NAME", default="fer2013", help="name of the data in the results")
    parser.add_argument("--arms", metavar="ARM", nargs="+", choices=[*ARMS], default=[*ARMS], help=", ".join(ARMS))
    parser.add_argument("--classifier", choices=tuple(CLASSIFIERS), default="resnet18-half")
    parser.add_argument("--steps", metavar="N", type=int, default=4500, help="default: 4500, 10 epochs of FER2013")
    parser.add_argument("--batch", metavar="N", type=int, default=64, help="default: 64")
    parser.add_argument("--learning-rate", metavar="R", type=float, default=0.1, help="maximum; default: 0.1")
    parser.add_argument("--size", metavar="S", type=int, default=48, help="images are resized to this; default: 48")
    parser.add_argument("--seeds", metavar="N", type=int, default=1, help="number of seeds")
    parser.add_argument("--first-seed", metavar="S", type=int, default=0)
    parser.add_argument("--workers", metavar="N", type=int, default=0, help="processes that load images; default: 0")
    parser.add_argument("--device", metavar="D", help="default: cuda if available, otherwise cpu")
    parser.add_argument("--results", metavar="FILE", type=Path, default=RESULTS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
