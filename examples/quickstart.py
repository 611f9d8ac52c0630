"""Augment the images of a folder in a DataLoader with workers, and save a picture of them.

python examples/quickstart.py faces/train augmented.png
"""

import sys

import torch
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2
from torchvision.utils import make_grid, save_image

from semantic_aug import SemanticAugment


def main(folder: str, picture: str, workers: int = 2) -> None:
    """Write a grid of one batch of augmented images."""
    transform = v2.Compose(
        [
            v2.ToImage(),
            v2.Resize((48, 48)),
            SemanticAugment(p=0.5, strength=0.35),  # before Normalize, like other transforms of pixel values
            v2.ToDtype(torch.float32, scale=True),
        ]
    )
    data = ImageFolder(folder, transform=transform)
    loader = DataLoader(data, batch_size=64, shuffle=True, num_workers=workers)
    images, _ = next(iter(loader))
    save_image(make_grid(images), picture)


if __name__ == "__main__":
    main(*sys.argv[1:])
