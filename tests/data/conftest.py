"""Tiny data sets in their published layouts, and what is read from them."""

import struct

import numpy as np
import pytest
from PIL import Image


def paint(path, value, size=(8, 8)):
    """A grey picture of one value, which survives any format and resizing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)


def values(data):
    return data.images.float().mean(dim=(1, 2, 3)).round().int().tolist()


def idx(array):
    """The bytes of an IDX file, MNIST's format."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def mnist_files(labels=(0, 1, 9, 1)):
    """The four files of (Fashion-)MNIST: training picture i has the value 10 i, test picture i 100 + i."""
    files = {}
    for part, first, step in (("train", 0, 10), ("t10k", 100, 1)):
        pictures = np.stack([np.full((28, 28), first + step * i) for i in range(len(labels))])
        files |= {f"{part}-images-idx3-ubyte": idx(pictures), f"{part}-labels-idx1-ubyte": idx(np.array(labels))}
    return files


def write_fashion(root, labels=(0, 1, 9, 1)):
    """A ROOT with a tiny FashionMNIST."""
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name, content in mnist_files(labels).items():
        (raw / name).write_bytes(content)
    return root


@pytest.fixture
def fashion(tmp_path):
    return write_fashion(tmp_path / "data")


def raf(root, form="Image/aligned/{}_aligned.jpg"):
    """RAF-DB with one training image per class, and two test images; picture values by label."""
    lines = [f"train_{label:05}.jpg {label}" for label in range(1, 8)]
    lines += ["test_0001.jpg 7", "test_0002.jpg 4"]
    for line in lines:
        name, label = line.split()
        paint(root / form.format(name.removesuffix(".jpg")), int(label) * 30)
    (root / "EmoLabel").mkdir(exist_ok=True)
    (root / "EmoLabel" / "list_patition_label.txt").write_text("\n".join(lines) + "\n")
    return root


def annotated(folder, labels, stored=str):
    """AffectNet's newer layout: picture i has the value 20 i, its label is stored as text."""
    (folder / "annotations").mkdir(parents=True)
    for number, label in enumerate(labels):
        paint(folder / "images" / f"{number}.jpg", number * 20)
        np.save(folder / "annotations" / f"{number}_exp.npy", np.array(stored(label)))
        np.save(folder / "annotations" / f"{number}_val.npy", np.array("0.5"))


def fer2013_table(path, header="emotion,pixels,Usage", order=("emotion", "pixels", "Usage")):
    """FER2013's file with 7 training images of the value 20 i, one a class, and 2 to validate on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [header]
    for i in range(9):
        cells = {"emotion": str(i % 7), "pixels": " ".join([str(i * 20)] * 48 * 48)}
        cells["Usage"] = "Training" if i < 7 else "PublicTest"
        lines.append(",".join(cells[name] for name in order))
    path.write_text("\n".join(lines) + "\n")
