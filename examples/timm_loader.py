"""Use timm's ``create_loader``. Its batches are normalised and, on a GPU, come from timm's own prefetcher.

python examples/timm_loader.py faces/train
"""

import sys

import timm
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, create_dataset, create_loader

from semantic_aug import SemanticAugmentBatch


def main(folder: str, steps: int = 100, workers: int = 2) -> list[float]:
    """Train for some steps and return their losses."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    data = create_dataset("", root=folder)
    names = sorted(data.reader.class_to_idx, key=data.reader.class_to_idx.get)
    loader = create_loader(
        data,
        input_size=(3, 64, 64),
        batch_size=32,
        is_training=True,
        no_aug=True,  # timm's crops, flips and colour jitter would come before the augmentation. Put yours after it.
        num_workers=workers,
        mean=IMAGENET_DEFAULT_MEAN,
        std=IMAGENET_DEFAULT_STD,
        use_prefetcher=device.type == "cuda",
        device=device,
    )
    # timm assigns the class indices and normalises the images. Pass the class names, and the mean and std. The
    # augmentation then undoes the normalisation and applies it again afterwards.
    augment = SemanticAugmentBatch(
        p=0.5,
        strength=0.35,
        classes=names,
        mean=IMAGENET_DEFAULT_MEAN,
        std=IMAGENET_DEFAULT_STD,
    )
    model = timm.create_model("resnet18", num_classes=len(names)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses: list[float] = []
    while len(losses) < steps:
        for images, labels in loader:
            images, labels = augment(images.to(device), labels.to(device))
            loss = torch.nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    return losses[:steps]


if __name__ == "__main__":
    main(*sys.argv[1:])
