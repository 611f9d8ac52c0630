"""Train a classifier in several processes. They share one balanced draw, and each makes its own augmentations.

torchrun --nproc-per-node 2 examples/distributed_training.py faces/train
"""

import os
import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.models import resnet18
from torchvision.transforms import v2

from semantic_aug import ClassBalancedSampler, SemanticAugmentBatch, SemanticLoader


def main(folder: str, epochs: int = 10, workers: int = 2) -> nn.Module:
    """Return the trained classifier, which is the same in every process."""
    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    rank, processes = dist.get_rank(), dist.get_world_size()

    to_tensor = v2.Compose([v2.ToImage(), v2.Grayscale(3), v2.Resize((48, 48)), v2.ToDtype(torch.float32, scale=True)])
    data = ImageFolder(folder, transform=to_tensor)
    # Every process makes the same draw from the data set and takes its own positions.
    sampler = ClassBalancedSampler(data.targets, rank=rank, world_size=processes)
    loader = DataLoader(data, 32, sampler=sampler, num_workers=workers, pin_memory=device.type == "cuda")
    # The noise must differ between processes. The default global generator may have the same seed in all of them.
    augment = SemanticAugmentBatch(p=0.5, strength=0.35, generator=torch.Generator().manual_seed(rank))
    batches = SemanticLoader(loader, augment, device=device, clean_epochs=1, epochs=epochs)

    model = DistributedDataParallel(resnet18(num_classes=len(data.classes)).to(device))  # copies rank 0's weights
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for epoch in range(epochs):
        batches.set_epoch(epoch)  # also sets the sampler's epoch, for a new draw
        for images, labels in batches:
            loss = nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        mean = loss.detach() / processes
        dist.all_reduce(mean)
        if rank == 0:
            print(f"epoch {epoch}: loss {float(mean):.3f} in {processes} processes")
    dist.destroy_process_group()
    return model.module


if __name__ == "__main__":
    main(*sys.argv[1:])
