"""Use Lightning. The DataModule augments each training batch once it is on the device.

python examples/lightning_datamodule.py faces/train
"""

import sys

import lightning as L
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.models import resnet18
from torchvision.transforms import v2

from semantic_aug import ClassBalancedSampler, SemanticAugmentBatch


class Faces(L.LightningDataModule):
    """An image folder with balanced classes. Validation batches are not augmented."""

    def __init__(self, folder: str, workers: int = 2) -> None:
        super().__init__()
        to_tensor = v2.Compose(
            [v2.ToImage(), v2.Grayscale(3), v2.Resize((48, 48)), v2.ToDtype(torch.float32, scale=True)]
        )
        self.data = ImageFolder(folder, transform=to_tensor)
        self.workers = workers
        self.augment = SemanticAugmentBatch(p=0.5, strength=0.35, classes=self.data.classes)

    def train_dataloader(self) -> DataLoader:
        """Draw every class equally often. Lightning calls the sampler's ``set_epoch``."""
        sampler = ClassBalancedSampler(self.data.targets)
        return DataLoader(self.data, 64, sampler=sampler, num_workers=self.workers, persistent_workers=self.workers > 0)

    def on_after_batch_transfer(self, batch: tuple[Tensor, Tensor], dataloader_idx: int) -> tuple[Tensor, Tensor]:
        """Augment a batch. Lightning calls this with the batch on the device."""
        return self.augment(batch) if self.trainer.training else batch


class Classifier(L.LightningModule):
    """A ResNet-18. It needs no changes for the augmentation."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.model = resnet18(num_classes=classes)

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Cross-entropy."""
        images, labels = batch
        return nn.functional.cross_entropy(self.model(images), labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def main(folder: str, epochs: int = 10, workers: int = 2, **trainer_options: object) -> Classifier:
    """Return the trained classifier."""
    data = Faces(folder, workers)
    classifier = Classifier(len(data.data.classes))
    trainer = L.Trainer(max_epochs=epochs, use_distributed_sampler=False, **trainer_options)
    trainer.fit(classifier, datamodule=data)
    return classifier


if __name__ == "__main__":
    main(*sys.argv[1:])
