"""Use your own images from start to finish: train a checkpoint on a folder, and then augment the folder with it.

python examples/train_on_folder.py birds/train runs/birds

To train with a preset instead, run: semantic-aug train birds/train --output runs/birds --preset rgb-32
"""

import sys
from pathlib import Path

import torch
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from semantic_aug import Artifact, SemanticAugmentBatch, SemanticLoader
from semantic_aug.data.dataset import hold_out, load_data
from semantic_aug.model.networks import NetworkConfig
from semantic_aug.trainer.config import TrainConfig
from semantic_aug.trainer.loop import train

# Images are resized to image_size and back. width and latent_dim determine what the networks can draw and their cost.
NETWORK = NetworkConfig(image_size=64, channels=3, latent_dim=256, latent_map=True, width=48)


def build(folder: str, output: str, network: NetworkConfig = NETWORK, images: int = 300_000) -> Artifact | None:
    """Train, or continue where the last call stopped. The artifact is also written to ``output/checkpoint``."""
    data = load_data(folder, network.channels, network.image_size)
    training, held_out = hold_out(data, fraction=0.02, seed=0)
    counts = dict(zip(data.classes, training.counts(), strict=True))
    config = TrainConfig(network=network, images=images, data=counts)
    return train(config, training, held_out, output, every_image=data)  # the statistics include the held-out images


def main(folder: str, output: str, network: NetworkConfig = NETWORK, images: int = 300_000) -> SemanticLoader:
    """Make batches of the folder's images, augmented by the checkpoint that was trained on them."""
    build(folder, output, network, images)
    size = (network.image_size, network.image_size)
    to_tensor = v2.Compose([v2.ToImage(), v2.Resize(size), v2.ToDtype(torch.float32, scale=True)])
    loader = DataLoader(ImageFolder(folder, transform=to_tensor), 64, shuffle=True)
    return SemanticLoader(loader, SemanticAugmentBatch(p=0.5, checkpoint=Path(output) / "checkpoint"))


if __name__ == "__main__":
    images, labels = next(iter(main(*sys.argv[1:])))
    print(tuple(images.shape), tuple(labels.shape))
