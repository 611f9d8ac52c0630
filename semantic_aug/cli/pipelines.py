"""The two pipelines that ``semantic-aug demo`` times: the transform per sample, and the wrapper per batch."""

import time
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from semantic_aug.data.decoding import count_cpus
from semantic_aug.model.artifact import Artifact
from semantic_aug.transform import SemanticAugment, SemanticAugmentBatch

WORKERS = 2  # as in training, but no more than there are CPUs
IMAGES = 512  # number of images that run through each pipeline, repeated if DATA has fewer


class Decoded(Dataset):
    """Images in memory that are transformed when they are read."""

    def __init__(self, images: Tensor, labels: Tensor, transform: v2.Transform) -> None:
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.transform(self.images[index]), self.labels[index]


def measure(artifact: Artifact, images: Tensor, labels: Tensor) -> Iterator[str]:
    """Run images uint8 (N, C, H, W) through a DataLoader with the transform, then through the wrapper. Yields lines.

    ``labels`` (N,) are the artifact's class indices.
    """
    some = torch.linspace(0, len(images) - 1, IMAGES).long()
    to_float = v2.ToDtype(torch.float32, scale=True)
    augment = SemanticAugmentBatch(checkpoint=artifact, classes=artifact.classes, domain_check=False)
    workers = min(WORKERS, count_cpus())
    for name, transform in (
        ("per sample", v2.Compose([SemanticAugment(checkpoint=artifact, domain_check=False), to_float])),
        ("per batch", to_float),
    ):
        data = Decoded(images[some], labels[some], transform)
        count, began = 0, time.perf_counter()
        for batch in DataLoader(data, batch_size=32, num_workers=workers, persistent_workers=True):
            if name == "per batch":
                batch = augment(*batch)
            if not count:  # do not count the time to start the workers
                began = time.perf_counter()
            count += len(batch[0])
        seconds = time.perf_counter() - began
        rate = f"{(IMAGES - 32) / seconds:.0f} images/s after the first batch"
        yield f"{name}: {count} images, half of them augmented, in a DataLoader with {workers} workers: {rate}"
