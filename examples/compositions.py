"""Combine the augmentation with RandomApply and RandomChoice per sample, or with MixUp and CutMix per batch.

python examples/compositions.py faces/train
"""

import sys

import torch
from torch.utils.data import DataLoader, default_collate
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from semantic_aug import SemanticAugment, SemanticAugmentBatch


def per_sample() -> v2.Transform:
    """Apply one of two augmentations, and then crop half of the images."""
    return v2.Compose(
        [
            v2.ToImage(),
            v2.Resize((48, 48)),
            v2.RandomChoice([SemanticAugment(p=1.0, strength=0.35), v2.RandAugment()]),
            v2.RandomApply([v2.RandomResizedCrop((48, 48), scale=(0.8, 1.0))], p=0.5),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )


class Collate:
    """Augment with labels and then mix, in the DataLoader workers. A class also works in workers that are spawned."""

    def __init__(self, classes: list[str]) -> None:
        mix = v2.RandomChoice([v2.MixUp(num_classes=len(classes)), v2.CutMix(num_classes=len(classes))])
        self.augment = v2.Compose([SemanticAugmentBatch(p=0.5, strength=0.35, classes=classes), mix])

    def __call__(self, samples: list) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images (B, C, H, W) and soft labels (B, K)."""
        return self.augment(*default_collate(samples))


def main(folder: str, workers: int = 2) -> tuple[DataLoader, DataLoader]:
    """Make a loader that augments sample by sample, and a loader that augments and mixes batches."""
    one_by_one = ImageFolder(folder, transform=per_sample())
    plain = v2.Compose([v2.ToImage(), v2.Resize((48, 48)), v2.ToDtype(torch.float32, scale=True)])
    data = ImageFolder(folder, transform=plain)
    return (
        DataLoader(one_by_one, 32, shuffle=True, num_workers=workers),
        DataLoader(data, 32, shuffle=True, num_workers=workers, collate_fn=Collate(data.classes)),
    )


if __name__ == "__main__":
    for loader in main(*sys.argv[1:]):
        images, labels = next(iter(loader))
        print(tuple(images.shape), tuple(labels.shape))
