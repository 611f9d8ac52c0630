"""Use Hugging Face ``datasets``. Images are augmented when they are accessed, each with its own label.

python examples/huggingface_datasets.py faces/train
"""

import sys

import torch
from datasets import Dataset, load_dataset
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from semantic_aug import SemanticAugment


def main(folder: str, workers: int = 2) -> tuple[Dataset, DataLoader]:
    """Return the data set, whose rows are augmented whenever they are read, and a DataLoader over it."""
    data = load_dataset("imagefolder", data_dir=folder, split="train")
    names = data.features["label"].names
    augment = SemanticAugment(p=0.5, strength=0.35, classes=names)
    to_tensor = v2.Compose([v2.ToImage(), v2.Grayscale(3), v2.Resize((48, 48)), v2.ToDtype(torch.float32, scale=True)])

    def transform(rows: dict[str, list]) -> dict[str, list]:
        rows = augment({**rows, "image": [image.convert("RGB") for image in rows["image"]]})
        return {"pixel_values": [to_tensor(image) for image in rows["image"]], "labels": rows["label"]}

    data.set_transform(transform)
    return data, DataLoader(data, batch_size=32, shuffle=True, num_workers=workers)


if __name__ == "__main__":
    data, loader = main(*sys.argv[1:])
    batch = next(iter(loader))
    print({name: tuple(value.shape) for name, value in batch.items()})
