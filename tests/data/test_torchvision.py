"""torchvision's own data sets."""

import bz2
import gzip
from urllib.error import URLError

import numpy as np
import pytest

from semantic_aug.data.dataset import load_data
from semantic_aug.data.source import DataError
from tests.data.conftest import fer2013_table, idx, mnist_files, paint, values


def test_a_torchvision_set_and_its_splits(fashion, tmp_path, monkeypatch):
    data = load_data(f"torchvision:FashionMNIST@{fashion}", 1, 16)
    assert values(data) == [0, 10, 20, 30]
    assert data.classes == ["T-shirt/top", "Trouser", "Ankle boot"]  # none without an image
    assert data.labels.tolist() == [0, 1, 2, 1]
    assert data.subset([2]).files[0].as_posix() == "torchvision:FashionMNIST/train/2"
    assert values(load_data(f"torchvision:FashionMNIST/test@{fashion}", 3, 16)) == [100, 101, 102, 103]
    monkeypatch.chdir(tmp_path)
    assert values(load_data("torchvision:FashionMNIST/train", 1, 16)) == [0, 10, 20, 30]
    with pytest.raises(DataError, match="has the splits train and test, not 'validation'"):
        load_data("torchvision:FashionMNIST/validation", 1, 16)


def test_a_torchvision_set_needs_no_cache(fashion, tmp_path):
    load_data(f"torchvision:FashionMNIST@{fashion}", 1, 16, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_torchvision_set_is_downloaded_only_where_it_is_missing(tmp_path, monkeypatch):
    from torchvision.datasets import mnist

    asked = []

    def download(url, download_root, filename, md5):
        asked.append(filename)
        name = filename.removesuffix(".gz")
        (tmp_path / "FashionMNIST" / "raw" / name).write_bytes(gzip.decompress(gzip.compress(mnist_files()[name])))

    monkeypatch.setattr(mnist, "download_and_extract_archive", download)
    for _ in range(2):
        assert len(load_data(f"torchvision:FashionMNIST@{tmp_path}", 1, 16)) == 4
    assert len(asked) == 4


def test_a_failed_download_is_one_line(tmp_path, monkeypatch):
    from torchvision.datasets import mnist

    def fail(*arguments, **keywords):
        raise URLError("no network")

    monkeypatch.setattr(mnist, "download_and_extract_archive", fail)
    with pytest.raises(DataError, match=r"MNIST/train is not in .*, and its download failed: .*no network") as caught:
        load_data(f"torchvision:MNIST@{tmp_path}", 1, 16)
    assert "\n" not in str(caught.value)


def test_unknown_names_are_refused_with_the_known():
    for name in ("Fashion", "VisionDataset", "FakeData", ""):
        with pytest.raises(
            DataError, match=f"torchvision has no data set {name!r}; it has .*CIFAR10, .*MNIST"
        ) as caught:
            load_data(f"torchvision:{name}", 1, 16)
        assert "FakeData," not in str(caught.value)


def test_splits_that_torchvision_names_itself(tmp_path):
    with pytest.raises(DataError, match=r"SVHN/nothing cannot be loaded .*nothing.*extra"):
        load_data(f"torchvision:SVHN/nothing@{tmp_path}", 1, 16)
    with pytest.raises(DataError, match=r"OxfordIIITPet/train cannot be loaded .*trainval"):
        load_data(f"torchvision:OxfordIIITPet/train@{tmp_path}", 1, 16)
    # EMNIST hands train= and download= on to its base class, and has no default split
    with pytest.raises(DataError, match=r"EMNIST/train cannot be loaded .*byclass"):
        load_data(f"torchvision:EMNIST@{tmp_path}", 1, 16)


def test_classes_that_differ_in_case_get_their_number(tmp_path):
    raw = tmp_path / "EMNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "emnist-byclass-train-images-idx3-ubyte").write_bytes(idx(np.zeros((3, 28, 28))))
    (raw / "emnist-byclass-train-labels-idx1-ubyte").write_bytes(idx(np.array([10, 36, 7])))
    assert load_data(f"torchvision:EMNIST/byclass@{tmp_path}", 1, 16).classes == ["7", "A (10)", "a (36)"]


def test_a_set_of_files_without_splits(tmp_path):
    for label, name in enumerate(("Forest", "River")):
        paint(tmp_path / "eurosat" / "2750" / name / "1.jpg", 50 * label)
    data = load_data(f"torchvision:EuroSAT@{tmp_path}", 3, 16)
    assert (data.classes, values(data)) == (["Forest", "River"], [0, 50])
    with pytest.raises(DataError, match="EuroSAT has no splits; got 'test'"):
        load_data(f"torchvision:EuroSAT/test@{tmp_path}", 3, 16)
    (tmp_path / "eurosat" / "2750" / "River" / "2.jpg").write_bytes(b"x")
    with pytest.raises(DataError, match="torchvision:EuroSAT/2: cannot be read as an image"):
        load_data(f"torchvision:EuroSAT@{tmp_path}", 3, 16)


def test_a_set_without_names_is_named_by_numbers(tmp_path):
    lines = [" ".join([str(label), *(f"{i + 1}:0.0" for i in range(256))]) for label in (1, 10)]
    (tmp_path / "usps.bz2").write_bytes(bz2.compress("\n".join(lines).encode()))
    assert load_data(f"torchvision:USPS@{tmp_path}", 1, 16).classes == ["0", "9"]


def test_fer2013_has_the_names_of_its_labels(tmp_path, monkeypatch):
    from torchvision.datasets import FER2013

    monkeypatch.setattr(FER2013, "_RESOURCES", {key: (name, None) for key, (name, _) in FER2013._RESOURCES.items()})
    fer2013_table(tmp_path / "fer2013" / "fer2013.csv", "emotion,pixels,Usage", ["emotion", "pixels", "Usage"])
    data = load_data(f"torchvision:FER2013@{tmp_path}", 1, 48)
    assert data.classes == ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
    assert values(data) == [i * 20 for i in range(7)]
    assert load_data(f"torchvision:FER2013/test@{tmp_path}", 1, 48).classes == ["angry", "disgust"]

    (tmp_path / "fer2013" / "fer2013.csv").unlink()
    fer2013_table(tmp_path / "fer2013" / "test.csv", "pixels", ["pixels"])
    with pytest.raises(DataError, match="FER2013/test: has images whose label is no class index but None"):
        load_data(f"torchvision:FER2013/test@{tmp_path}", 1, 48)


def test_a_set_that_cannot_be_downloaded_is_one_line(tmp_path):
    with pytest.raises(DataError, match=r"FER2013/train cannot be loaded from .*train\.csv not found"):
        load_data(f"torchvision:FER2013@{tmp_path}", 1, 48)
