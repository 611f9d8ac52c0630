"""Speed of every way to augment: python -m benchmarks.speed.ways [--images N] [--turns N] [--json FILE]

All ways take turns in one run on the CPU. Each of them reads the same RGB images of 48 pixels from PNG files in a
DataLoader with one worker and gives batches of 32. The time of an image is also compared with its time in a training
step of a ResNet-34, which takes turns with the ways. Ours runs at p = 0.5 in mode "detail" with the bundled checkpoint.
To measure one core, pin the program to it (``taskset -c 1``). "networks alone" is the time of E and G for each chosen
image, image by image and without anything else, which is a lower bound of "per sample".
"""

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch.utils.data import DataLoader, Dataset, default_collate
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from benchmarks.speed.throughput import (
    CHECKPOINT,
    DTYPES,
    STRENGTH,
    P,
    batch_of,
    describe_checkpoint,
    latents_of,
    seconds,
    training_step,
)
from semantic_aug import Artifact, LatentCache, SemanticAugment, SemanticAugmentBatch, SemanticLoader
from semantic_aug.model.runtime import LatentModel

BATCH, SIZE = 32, 48
SETTINGS: dict[str, Any] = {"mode": "detail", "domain_check": False}
Way = Callable[[], Any]


class Rows(Dataset):
    """A data set that augments the samples of a batch as a dictionary of lists, like Hugging Face's with_transform."""

    def __init__(self, data: ImageFolder, augment: SemanticAugment) -> None:
        self.data, self.augment = data, augment

    def __len__(self) -> int:
        return len(self.data)

    def __getitems__(self, indices: list[int]) -> list[Any]:
        """The samples at ``indices``, which a DataLoader asks for in one call."""
        images, labels = zip(*(self.data[i] for i in indices), strict=True)
        rows = self.augment({"image": list(images), "label": list(labels)})
        return list(zip(rows["image"], rows["label"], strict=True))


class Collate:
    """Augment a batch in the worker that collates it."""

    def __init__(self, augment: SemanticAugmentBatch) -> None:
        self.augment = augment

    def __call__(self, samples: list[Any]) -> Any:
        """Images (B, 3, S, S) and labels (B,)."""
        return self.augment(*default_collate(samples))


def write_folder(folder: Path, images: torch.Tensor, labels: torch.Tensor, classes: Sequence[str]) -> Path:
    """Write images (N, 3, S, S) in [0, 1] as PNG files into a folder for each class."""
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / classes[label] / f"{i:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        F.to_pil_image((image * 255).round().to(torch.uint8)).save(path)
    return folder


def collect_ways(artifact: Artifact, folder: Path, count: int, workers: int) -> dict[tuple[str, str], Way]:
    """Every way to augment by name and precision. One call is an epoch over ``count`` images below ``folder``."""
    images, labels = batch_of(count, SIZE, len(artifact.classes), "cpu")
    files = partial(ImageFolder, write_folder(folder / "real", images, labels, artifact.classes))
    new, _ = SemanticAugmentBatch(1.0, STRENGTH, checkpoint=artifact, classes=artifact.classes)(images, labels)
    expanded = write_folder(folder / "expanded", new, labels, artifact.classes)
    data = files(transform=v2.ToImage())
    pixels = torch.stack([image for image, _ in data])
    caches = {
        name: LatentCache.build(folder / f"{name}.safetensors", artifact, pixels, reconstructions=name == "both")
        for name in ("mu", "both")
    }

    def loader(data: Any, collate: Any = default_collate) -> DataLoader:
        return DataLoader(data, BATCH, num_workers=workers, persistent_workers=workers > 0, collate_fn=collate)

    def augmented(batches: DataLoader, augment: SemanticAugmentBatch) -> None:
        for batch in batches:
            augment(*batch)

    ways: dict[tuple[str, str], Way] = {
        ("no augmentation", "float32"): partial(list, loader(data)),
        ("RandAugment, per sample", "float32"): partial(
            list, loader(files(transform=v2.Compose([v2.ToImage(), v2.RandAugment()])))
        ),
        ("offline expansion, read", "float32"): partial(list, loader(ImageFolder(expanded, v2.ToImage()))),
    }
    for precision, dtype in DTYPES.items():
        settings: dict[str, Any] = {"checkpoint": artifact, "classes": artifact.classes, "dtype": dtype} | SETTINGS
        one, batch = SemanticAugment(P, STRENGTH, **settings), SemanticAugmentBatch(P, STRENGTH, **settings)
        new_ways: dict[str, Way] = {
            "per sample": partial(list, loader(files(transform=v2.Compose([v2.ToImage(), one])))),
            "rows of a dictionary, as `with_transform` passes them": partial(list, loader(Rows(data, one))),
            "`collate_fn`": partial(list, loader(data, Collate(batch))),
            "batch, in the training process": partial(augmented, loader(data), batch),
            "`SemanticLoader`": partial(list, SemanticLoader(loader(data), batch, device="cpu")),
            **{
                f"`SemanticLoader`, cached {what}": partial(
                    list,
                    SemanticLoader(loader(caches[name].dataset(data)), batch, device="cpu", latents=caches[name]),
                )
                for name, what in (("mu", "latents"), ("both", "latents and reconstructions"))
            },
        }
        ways |= {(name, precision): way for name, way in new_ways.items()}
    return ways


def networks_alone(artifact: Artifact, count: int, *, compiled: bool) -> dict[tuple[str, str], Way]:
    """E and G on single images, as often as an epoch over ``count`` images needs them."""
    image = batch_of(1, artifact.network.image_size, 1, "cpu")[0][:, : artifact.network.channels]
    pair = latents_of(artifact, image)["mu"].repeat(2, 1)
    found: dict[tuple[str, str], Way] = {}
    for precision, dtype in DTYPES.items():
        model = LatentModel.of(artifact, dtype=dtype)
        networks: dict[str, Sequence[Callable[..., Any]]] = {"networks alone": (model.encoder, model.generator)}
        if compiled:
            frozen = [torch.compile(network, options={"freezing": True}) for network in networks["networks alone"]]
            networks["networks alone, compiled and frozen"] = frozen

        @torch.no_grad()
        def run(encoder: Any, generator: Any, model: LatentModel) -> None:
            with torch.autocast("cpu", dtype=model.dtype, enabled=model.dtype is not None):
                for _ in range(round(P * count)):
                    encoder(image), generator(pair)

        for name, (encoder, generator) in networks.items():
            found[name, precision] = partial(run, encoder, generator, model)
    return found


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure every way. Returns the medians over the turns."""
    artifact = Artifact.from_pretrained(CHECKPOINT)
    step, batch = training_step("cpu", len(artifact.classes)), batch_of(BATCH, SIZE, len(artifact.classes), "cpu")
    with tempfile.TemporaryDirectory() as folder:
        ways = collect_ways(artifact, Path(folder), options.images, options.workers)
        ways |= networks_alone(artifact, options.images, compiled=options.compile)
        runs = {"/".join(key): way for key, way in ways.items()} | {"step": partial(step, *batch)}
        spent = seconds(runs, "cpu", options.turns)
    per_image = {key: spent["/".join(key)] / options.images for key in ways}
    of_step = spent["step"] / BATCH
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for (name, precision), taken in per_image.items():
        rate, share = float(f"{1 / taken:.3g}"), float(f"{taken / of_step:.3g}")
        figures.setdefault(name, {})[precision] = {"images_per_s": rate, "share_of_step": share}
    return {
        "ways": figures,
        "checkpoint": describe_checkpoint(artifact),
        "step_images_per_s": float(f"{1 / of_step:.3g}"),
        "images": options.images,
        "turns": options.turns,
        "workers": options.workers,
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "versions": {"python": platform.python_version(), "torch": torch.__version__,
                     "torchvision": torchvision.__version__},
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    parser.add_argument("--json", metavar="FILE", type=Path)
    found = measure(options := parser.parse_args(arguments))
    for name, figures in found["ways"].items():
        print(f"{name:<56}", *(f"{each['images_per_s']:8} {each['share_of_step']:7}" for each in figures.values()))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
