"""Train a classifier on long-tailed data with balanced sampling, semantic augmentation and clean last epochs.

The loop follows torchvision's reference scripts. Only three lines are new.

    python examples/imbalanced_training.py faces/train faces/validation
"""

import sys

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.models import resnet18
from torchvision.transforms import v2

from semantic_aug import ClassBalancedSampler, SemanticAugmentBatch, SemanticLoader

NORMALIZE = v2.Normalize(mean=[0.5], std=[0.25])  # after the augmentation, on whole batches


def train_one_epoch(model: nn.Module, loader: SemanticLoader, optimizer: torch.optim.Optimizer) -> float:
    """Train for an epoch and return the mean loss."""
    model.train()
    total = 0.0
    for images, labels in loader:  # already augmented and on the device
        loss = nn.functional.cross_entropy(model(NORMALIZE(images)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += float(loss.detach()) / len(loader)
    return total


@torch.no_grad()
def evaluate(model: nn.Module, loader: DataLoader, device: str, classes: int) -> float:
    """Measure the balanced accuracy, which is the mean of the classes' recalls."""
    model.eval()
    confusion = torch.zeros(classes, classes)
    for images, labels in loader:
        predicted = model(NORMALIZE(images.to(device))).argmax(1).cpu()
        confusion.index_put_((labels, predicted), torch.ones(len(labels)), accumulate=True)
    return float((confusion.diag() / confusion.sum(1).clamp_min(1)).mean())


def main(train: str, validation: str, epochs: int = 20, clean_epochs: int = 2, workers: int = 2) -> float:
    """Train, and return the balanced accuracy on ``validation`` after the last epoch."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    to_tensor = v2.Compose([v2.ToImage(), v2.Grayscale(3), v2.Resize((48, 48)), v2.ToDtype(torch.float32, scale=True)])
    data = ImageFolder(train, transform=v2.Compose([to_tensor, v2.RandomHorizontalFlip()]))
    held_out = ImageFolder(validation, transform=to_tensor)

    sampler = ClassBalancedSampler(data.targets)
    loader = DataLoader(data, 128, sampler=sampler, num_workers=workers, pin_memory=device == "cuda")
    augment = SemanticAugmentBatch(p=0.5, strength=0.35)
    batches = SemanticLoader(loader, augment, device=device, clean_epochs=clean_epochs, epochs=epochs)

    model = resnet18(num_classes=len(data.classes)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    accuracy = 0.0
    for epoch in range(epochs):
        batches.set_epoch(epoch)  # also sets the sampler's epoch
        loss = train_one_epoch(model, batches, optimizer)
        accuracy = evaluate(model, DataLoader(held_out, 256, num_workers=workers), device, len(data.classes))
        print(f"epoch {epoch}: loss {loss:.3f}, balanced accuracy {accuracy:.3f}")
    return accuracy


if __name__ == "__main__":
    main(*sys.argv[1:])
