"""Does it help on your data? Train classifiers with and without the augmentation, and print the difference.

    python examples/imbalanced_training.py faces/train faces/validation --checkpoint runs/faces/checkpoint
    python examples/imbalanced_training.py torchvision:FashionMNIST torchvision:FashionMNIST/test --imbalance 100 \
--checkpoint fashion-mnist-32

Both arms get what costs little: natural class frequencies, RandAugment, and a post-hoc logit adjustment (Menon et al.
2021, arXiv 2007.07314). The arm "ours" has the augmentation in front of RandAugment. The two arms of a seed start from
the same weights and take the same number of steps. For a fair comparison, the checkpoint must have been trained on the
same training images.
"""

import argparse
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision.transforms import v2

from semantic_aug import Artifact, LatentCache, SemanticAugmentBatch, SemanticLoader
from semantic_aug.data.dataset import ImageSet, cut_to_imbalance, load_data
from semantic_aug.evaluation.classifier import resnet18

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BATCH, LEARNING_RATE, WEIGHT_DECAY = 128, 0.1, 5e-4
RANDAUGMENT, FLIP = v2.RandAugment(), v2.RandomHorizontalFlip()
TO_FLOAT = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean=[0.5], std=[0.25])])
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)  # 97.5 % for 1, 2, ... degrees of freedom


def make_loader(
    data: ImageSet, augment: SemanticAugmentBatch | None, latents: LatentCache | None
) -> SemanticLoader | DataLoader:
    """Make the loader of an arm. Only this differs between the arms. ``main`` makes ``augment`` and ``latents``."""
    dataset = TensorDataset(data.images, data.labels)
    if augment is None or latents is None:
        return DataLoader(dataset, BATCH, shuffle=True, drop_last=True)
    loader = DataLoader(latents.dataset(dataset), BATCH, shuffle=True, drop_last=True)
    return SemanticLoader(loader, augment, latents=latents, device=DEVICE)


def train(data: ImageSet, loader: Iterable, epochs: int, width: int, seed: int) -> nn.Module:
    """Train a ResNet-18 of ``width`` channels with RandAugment."""
    torch.manual_seed(seed)
    model = resnet18(data.images.shape[1], len(data.classes), width).to(DEVICE)
    optimizer = torch.optim.SGD(
        model.parameters(), LEARNING_RATE, momentum=0.9, nesterov=True, weight_decay=WEIGHT_DECAY
    )
    steps = epochs * (len(data) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, max(steps, 1))
    for _ in range(epochs):
        for images, labels in loader:
            # v2 transforms draw once for a whole batch, so they are called for each image.
            images = torch.stack([FLIP(RANDAUGMENT(image)) for image in images])
            loss = nn.functional.cross_entropy(model(TO_FLOAT(images.to(DEVICE))), labels.to(DEVICE))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model


@torch.no_grad()
def evaluate(model: nn.Module, data: ImageSet, log_prior: Tensor) -> float:
    """Measure the balanced accuracy, the mean of the classes' recalls, in percent."""
    model.eval()
    logits = torch.cat([model(TO_FLOAT(images.to(DEVICE))) for images in data.images.split(256)])
    right = (logits - log_prior).argmax(1).cpu() == data.labels
    return 100 * statistics.mean(float(right[data.labels == label].float().mean()) for label in data.labels.unique())


def interval(differences: Sequence[float]) -> str:
    """The mean, and its 95 % t interval if there are at least two seeds."""
    n, mean = len(differences), statistics.mean(differences)
    if n == 1:
        return f"{mean:+.2f} (a single seed has no interval)"
    half = STUDENT[min(n - 1, len(STUDENT)) - 1] * statistics.stdev(differences) / n**0.5
    return f"{mean:+.2f} [{mean - half:+.2f}, {mean + half:+.2f}]"


def main(arguments: Sequence[str] | None = None) -> list[float]:
    """Train both arms with each seed, and return the differences in balanced accuracy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", metavar="DATA", help="training images, any DATA of semantic-aug train")
    parser.add_argument("validation", metavar="DATA", help="images to measure on")
    parser.add_argument("--checkpoint", default="fer2013-48")
    parser.add_argument("--imbalance", type=float, default=1.0, help="cut the training images to a long tail")
    parser.add_argument("--strength", type=float, help="default: the one that the checkpoint recommends")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args(arguments)

    artifact = Artifact.from_pretrained(options.checkpoint)
    size = artifact.network.channels, artifact.network.image_size
    data = load_data(options.train, *size).with_classes(artifact.classes)
    data = cut_to_imbalance(data, options.imbalance) if options.imbalance > 1 else data
    held_out = load_data(options.validation, *size).with_classes(artifact.classes)
    counts = torch.tensor(data.counts(), device=DEVICE).clamp(min=1)
    log_prior = (counts / counts.sum()).log()
    augment = SemanticAugmentBatch(p=0.5, strength=options.strength, checkpoint=artifact, classes=data.classes)

    differences = []
    with TemporaryDirectory() as folder:
        latents = LatentCache.build(
            Path(folder) / "latents.safetensors",
            artifact.to(DEVICE),
            data.images,
            reconstructions=True,
            labels=data.labels,
        )
        for seed in range(options.seeds):
            accuracies = []
            for ours in (False, True):
                loader = make_loader(data, augment if ours else None, latents)
                model = train(data, loader, options.epochs, options.width, seed)
                accuracies.append(evaluate(model, held_out, log_prior))
            differences.append(accuracies[1] - accuracies[0])
            print(f"seed {seed}: balanced accuracy {accuracies[0]:.2f} %, with ours {accuracies[1]:.2f} %", flush=True)
    print(f"ours minus RandAugment alone: {interval(differences)} points")
    return differences


if __name__ == "__main__":
    main()
