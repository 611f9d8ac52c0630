"""Use a training step under ``torch.compile``. The batch is augmented before it enters the compiled function.

python examples/compiled_step.py faces/train
"""

import sys

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.models import resnet18
from torchvision.transforms import v2

from semantic_aug import SemanticAugmentBatch, SemanticLoader


def main(folder: str, steps: int = 100, workers: int = 2, backend: str = "inductor") -> list[float]:
    """Train for some steps and return their losses."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    to_tensor = v2.Compose([v2.ToImage(), v2.Grayscale(3), v2.Resize((48, 48)), v2.ToDtype(torch.float32, scale=True)])
    data = ImageFolder(folder, transform=to_tensor)
    # With drop_last all batches have the same shape, so there is only one compilation.
    loader = DataLoader(data, 16, shuffle=True, drop_last=True, num_workers=workers, pin_memory=device == "cuda")
    # On a GPU, compile=True and dtype=torch.bfloat16 also compile the augmentation itself.
    batches = SemanticLoader(loader, SemanticAugmentBatch(p=0.5, strength=0.35), device=device)
    model = resnet18(num_classes=len(data.classes)).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    @torch.compile(fullgraph=True, backend=backend)
    def loss_of(images: Tensor, labels: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(model(images), labels)

    losses: list[float] = []
    while len(losses) < steps:
        for images, labels in batches:
            loss = loss_of(images, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    return losses[:steps]


if __name__ == "__main__":
    main(*sys.argv[1:])
