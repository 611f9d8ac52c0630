"""RGB images in CIFAR-10's own files, made up, through the whole path to an augmented DataLoader."""

import hashlib
import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from torchvision.datasets import CIFAR10
from torchvision.transforms import v2

from semantic_aug import SemanticAugment
from semantic_aug.cli import main as cli

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


@pytest.fixture
def cifar10(tmp_path, monkeypatch):
    """A root with ``cifar-10-batches-py``, 40 + 10 images whose colour tells the class."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    random = np.random.default_rng(0)

    def write(name, content):
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    def batch(n):
        labels = [number % 10 for number in range(n)]
        colours = np.stack([np.repeat([25 * label, 255 - 25 * label, 128], 1024) for label in labels])
        noise = random.integers(-20, 20, (n, 3072))
        return {"data": (colours + noise).clip(0, 255).astype(np.uint8), "labels": labels}

    monkeypatch.setattr(CIFAR10, "train_list", [write("data_batch_1", batch(40))])
    monkeypatch.setattr(CIFAR10, "test_list", [write("test_batch", batch(10))])
    filename, md5 = write("batches.meta", {"label_names": CLASSES})
    monkeypatch.setattr(CIFAR10, "meta", {"filename": filename, "key": "label_names", "md5": md5})
    return tmp_path


def test_train_evaluate_and_use_on_rgb_images(cifar10, torch_home, capsys):
    train = ["train", f"torchvision:CIFAR10@{cifar10}", "--validation", f"torchvision:CIFAR10/test@{cifar10}"]
    output = ["--output", str(cifar10 / "run"), "--preset", "rgb-32", "--images", "48", "--batch", "16"]
    assert cli.main([*train, *output, "--device", "cpu", "--imbalance", "4"]) == 0
    checkpoint = cifar10 / "run" / "checkpoint"
    assert cli.main(["inspect", str(checkpoint)]) == 0
    assert "channels: 3" in capsys.readouterr().out
    evaluate = ["evaluate", str(checkpoint), f"torchvision:CIFAR10/test@{cifar10}", "--device", "cpu"]
    assert cli.main(evaluate) == 0

    augment = SemanticAugment(p=0.5, strength=0.35, checkpoint=checkpoint, classes=CLASSES, domain_check=False)
    to_tensor = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    plain = CIFAR10(cifar10, transform=to_tensor)
    data = CIFAR10(cifar10, transform=v2.Compose([augment, to_tensor]))
    (images, labels), (before, _) = (next(iter(DataLoader(each, batch_size=40))) for each in (data, plain))
    changed = (images != before).flatten(1).any(1)
    assert images.shape == (40, 3, 32, 32)
    assert 8 <= int(changed.sum()) <= 32
    assert torch.equal(images[~changed], before[~changed])
    assert labels.tolist() == [number % 10 for number in range(40)]
