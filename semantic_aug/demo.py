"""The sources and the two pipelines of ``semantic-aug demo``."""

import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from semantic_aug.artifact import Artifact
from semantic_aug.batch import SemanticAugmentBatch
from semantic_aug.images import model_to_unit
from semantic_aug.labels import folder_name
from semantic_aug.transform import SemanticAugment

DRAWN_PER_CLASS = 8
SEED = 160  # with it a judge classifier reads the class of each first face of fer2013-48, which the picture shows
TEMPERATURE = 0.8  # of the drawn sources, which are to look like the images that a checkpoint was trained on
IMAGES = 512  # so many of DATA, repeated where it has fewer, are run through each pipeline


def draw(artifact: Artifact) -> tuple[Tensor, Tensor]:
    """New samples of every class, always the same ones: uint8 (N, C, S, S), and their labels (N,)."""
    generator = torch.Generator().manual_seed(SEED)
    drawn = [
        artifact.sample(label, DRAWN_PER_CLASS, generator, temperature=TEMPERATURE)
        for label in range(len(artifact.classes))
    ]
    images = model_to_unit(torch.cat(drawn)).clamp(0, 1).mul(255).to(torch.uint8)
    return images, torch.arange(len(artifact.classes)).repeat_interleave(DRAWN_PER_CLASS)


def draw_folder(artifact: Artifact, folder: Path) -> None:
    """Write what ``draw`` draws as an image folder."""
    images, labels = draw(artifact)
    for number, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        of_class = folder / folder_name(artifact.classes[label])
        of_class.mkdir(exist_ok=True)
        F.to_pil_image(image).save(of_class / f"{number % DRAWN_PER_CLASS}.png")


def measure(artifact: Artifact, folder: str | Path) -> Iterator[str]:
    """Run an image folder through a DataLoader with the transform, then through the batch wrapper; yield lines."""
    size = artifact.network.image_size
    common = [v2.ToImage(), v2.Resize((size, size)), v2.RGB() if artifact.network.channels == 3 else v2.Grayscale()]
    # Two workers, as a training has them; spawned, for threads of a busy parent do not survive a fork.
    for name, transforms in (("per sample", [*common, SemanticAugment(checkpoint=artifact, domain_check=False)]),
                             ("per batch", common)):  # fmt: skip
        data = ImageFolder(str(folder), transform=v2.Compose([*transforms, v2.ToDtype(torch.float32, scale=True)]))
        some = torch.utils.data.Subset(data, torch.linspace(0, len(data) - 1, IMAGES).long().tolist())
        augment = SemanticAugmentBatch(checkpoint=artifact, classes=data.classes, domain_check=False)
        count, began = 0, time.perf_counter()
        for images, labels in DataLoader(some, batch_size=32, num_workers=2, persistent_workers=True):
            if name == "per batch":
                images, labels = augment(images, labels)
            if not count:  # the first batch pays for starting the workers
                began = time.perf_counter()
            count += len(images)
        seconds = time.perf_counter() - began
        rate = f"{(IMAGES - 32) / seconds:.0f} images/s after the first batch"
        yield f"{name}: {count} images, half of them augmented, in a DataLoader with 2 workers: {rate}"
