"""Which source of images a text names."""

import json

import pytest

from semantic_aug.data.dataset import load_data
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
