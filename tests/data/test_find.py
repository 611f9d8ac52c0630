"""Which source of images a text names."""

import json

import pytest
import torch

from semantic_aug.data.dataset import load_data, load_folder
from semantic_aug.data.find import find_source
from semantic_aug.data.source import DataError
from tests.conftest import CLASSES, write_folder
from tests.data.conftest import annotated, raf


def test_an_unknown_kind_is_one_line_with_what_is_known():
    with pytest.raises(DataError, match="'https' is no known kind of data; expected an image folder") as caught:
        load_data("https://example.org/faces.zip", 1, 32)
    assert "\n" not in str(caught.value)
    assert all(part in str(caught.value) for part in ("save_to_disk", "torchvision:", "rafdb:", "affectnet:"))


def test_a_folder_comes_before_a_prefix(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "torchvision:CIFAR10")
    assert load_data("torchvision:CIFAR10", 1, 32).classes == CLASSES
    assert load_data(tmp_path / "torchvision:CIFAR10", 1, 32).classes == CLASSES


def test_every_source_tells_where_its_images_are(tmp_path, folder, fashion):
    raf(tmp_path / "raf")
    annotated(tmp_path / "affect" / "train_set", [0, 1])
    specs = [folder, f"torchvision:FashionMNIST@{fashion}", f"rafdb:basic@{tmp_path / 'raf'}"]
    for spec in [*specs, f"affectnet:7@{tmp_path / 'affect'}"]:
        source = find_source(spec)
        assert len(source.files) == len(source.labels) == len(set(source.files))
        assert set(source.labels) == set(range(len(source.classes)))
    assert json.dumps(source.labels)  # plain ints: the cache's name is made of them


@pytest.mark.parametrize("names", [("train", "validation"), ("Train", "VAL", "other"), ("test",), ("testing", "dev")])
def test_the_folder_above_the_splits_is_refused(tmp_path, names):
    write_folder(tmp_path / "faces", 1, classes=list(names))
    first = tmp_path / "faces" / min(sorted(names), key=lambda name: not name.lower().startswith("train"))
    with pytest.raises(
        DataError, match=rf"like splits and not like classes; give one of them, such as {first}, or folder:"
    ):
        load_data(tmp_path / "faces", 1, 32)
    data = load_data(f"folder:{tmp_path / 'faces'}", 1, 32)
    assert data.classes == sorted(names), "where these are the classes"
    assert torch.equal(data.images, load_folder(tmp_path / "faces", 1, 32).images)


def test_one_class_may_be_called_train(tmp_path):
    """As of vehicles."""
    write_folder(tmp_path / "vehicles", 1, classes=["bus", "train"])
    assert load_data(tmp_path / "vehicles", 1, 32).classes == ["bus", "train"]


def test_a_file_is_called_a_file(folder, tmp_path):
    file = tmp_path / "faces.zip"
    file.write_bytes(b"PK")
    for spec in (file, f"{file}/train", folder / "sad" / "0.png"):
        with pytest.raises(DataError, match=r"(faces\.zip|0\.png): is a file; expected an image folder, "):
            load_data(spec, 1, 32)
    with pytest.raises(DataError, match="is a file; expected an image folder"):
        load_folder(file, 1, 32)
    for prefix in ("torchvision:CIFAR10", "rafdb:basic", "affectnet:7"):
        with pytest.raises(DataError, match=rf"is a file; expected the folder that has the data set {prefix} in it"):
            load_data(f"{prefix}@{file}", 1, 32)
