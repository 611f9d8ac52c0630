import builtins
import bz2
import gzip
import json
import shutil
import struct
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from semantic_aug.data.dataset import DataError, load_data, load_folder
from semantic_aug.data.source import find_source, scan_folder
from semantic_aug.images import file_to_bytes
from tests.conftest import CLASSES, write_folder


def paint(path, value, size=(8, 8)):
    """A grey picture of one value, which survives any format and resizing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)


def values(data):
    return data.images.float().mean(dim=(1, 2, 3)).round().int().tolist()


# --- What a specification names ---------------------------------------------------------------------------------


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


def test_folders_without_images_are_refused(tmp_path, folder):
    with pytest.raises(DataError, match="no such folder"):
        scan_folder(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no such folder"):
        load_data(tmp_path / "nowhere", 1, 32)
    (tmp_path / "flat").mkdir()
    with pytest.raises(DataError, match="no sub-folders; expected one per class"):
        scan_folder(tmp_path / "flat")
    (folder / "fear").mkdir()
    (folder / "fear" / "._0.png").write_text("what macOS leaves behind")
    with pytest.raises(DataError, match="fear: no images in this class folder"):
        load_data(folder, 1, 32)


def test_what_lies_below_a_class_folder(folder, tmp_path):
    """The images and the order of torchvision's ImageFolder, but for what is hidden."""
    deep, elsewhere = folder / "sad" / "b" / "deep", tmp_path / "elsewhere"
    deep.mkdir(parents=True)
    elsewhere.mkdir()
    for target in (folder / "sad" / "zz.png", deep / "0.png", elsewhere / "9.PNG", folder / "sad" / "a.jfif"):
        shutil.copy(folder / "sad" / "0.png", target)
    (folder / "sad" / "linked").symlink_to(elsewhere)
    (elsewhere / "round").symlink_to(folder / "sad")
    (folder / "sad" / "folder.png").mkdir()
    _, files, labels = scan_folder(folder)
    found = [str(path.relative_to(folder / "sad")) for path, label in zip(files, labels, strict=True) if label == 2]
    assert sorted(set(found) - {f"{i}.png" for i in range(6)}) == ["a.jfif", "b/deep/0.png", "linked/9.PNG", "zz.png"]
    (elsewhere / "round").unlink()
    known = ImageFolder(folder, is_valid_file=lambda path: path.lower().endswith((".png", ".jfif")))
    assert [str(path) for path in scan_folder(folder)[1]] == [path for path, _ in known.samples]
    hidden = folder / "sad" / ".ipynb_checkpoints"
    hidden.mkdir()
    shutil.copy(folder / "sad" / "0.png", hidden / "0.png")
    assert len(scan_folder(folder)[1]) == len(known)


# --- Hugging Face -----------------------------------------------------------------------------------------------


def rows(folder, label="label", names=CLASSES):
    """A Hugging Face data set of an image folder, with a column that is neither image nor label."""
    datasets = pytest.importorskip("datasets")
    _, files, labels = scan_folder(folder)
    features = datasets.Features(
        {"image": datasets.Image(), label: datasets.ClassLabel(names=names), "age": datasets.Value("int32")}
    )
    table = {"image": [str(path) for path in files], label: labels, "age": list(range(len(files)))}
    return datasets.Dataset.from_dict(table, features=features)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_hugging_face_set_is_its_folder(folder, tmp_path, channels):
    exif = Image.new("L", (20, 30)).getexif()
    exif[0x0112] = 6
    Image.linear_gradient("L").resize((20, 30)).save(folder / "sad" / "turned.jpg", exif=exif)
    Image.new("RGBA", (10, 10), (0, 0, 0, 0)).save(folder / "sad" / "clear.png")
    rows(folder).save_to_disk(tmp_path / "saved")
    found, expected = load_data(str(tmp_path / "saved"), channels, 24), load_folder(folder, channels, 24)
    assert torch.equal(found.images, expected.images)
    assert torch.equal(found.labels, expected.labels)
    assert found.classes == CLASSES
    assert len(found.files) == len(found) == 20
    assert found.subset([3]).files == [tmp_path / "saved" / "3"]


def test_columns_are_found_by_type_and_formats_ignored(folder, tmp_path):
    rows(folder, label="emotion").with_format("numpy").save_to_disk(tmp_path / "saved")
    assert load_data(tmp_path / "saved", 1, 32).counts() == [6, 6, 6]


def test_a_selection_of_rows_is_saved_as_such(folder, tmp_path):
    rows(folder).select([17, 0, 9]).save_to_disk(tmp_path / "saved")
    data = load_data(tmp_path / "saved", 1, 32)
    assert data.labels.tolist() == [2, 0, 1]
    assert torch.equal(data.images[1], file_to_bytes(str(folder / "angry" / "0.png"), 1, 32))


def test_splits_of_a_dataset_dict(folder, tmp_path):
    datasets = pytest.importorskip("datasets")
    whole = rows(folder)
    splits = datasets.DatasetDict({"train": whole.select(range(12)), "test": whole.select(range(12, 18))})
    splits.save_to_disk(tmp_path / "saved")
    assert load_data(tmp_path / "saved", 1, 32).classes == ["angry", "happy"]
    assert load_data(tmp_path / "saved" / "test", 1, 32).classes == ["sad"]
    datasets.DatasetDict({"a": whole, "b": whole}).save_to_disk(tmp_path / "other")
    with pytest.raises(DataError, match=r"has the splits a, b, no train; name one as .*other/SPLIT"):
        load_data(tmp_path / "other", 1, 32)


def test_a_hugging_face_set_without_image_or_label_is_refused(folder, tmp_path):
    datasets = pytest.importorskip("datasets")
    whole = rows(folder)
    whole.remove_columns("label").save_to_disk(tmp_path / "unlabelled")
    with pytest.raises(DataError, match=r"one column of type ClassLabel, found 0 among image \(Image\), age \(Value\)"):
        load_data(tmp_path / "unlabelled", 1, 32)
    whole.cast_column("age", datasets.ClassLabel(num_classes=18)).save_to_disk(tmp_path / "two")
    with pytest.raises(DataError, match="one column of type ClassLabel, found 2"):
        load_data(tmp_path / "two", 1, 32)
    hidden = datasets.Dataset.from_dict({**whole.to_dict(), "label": [-1] * 18}, features=whole.features)
    hidden.save_to_disk(tmp_path / "hidden")
    with pytest.raises(DataError, match="no class index but -1"):
        load_data(tmp_path / "hidden", 1, 32)


def test_a_bad_row_is_named(folder, tmp_path):
    datasets = pytest.importorskip("datasets")
    whole = rows(folder).cast_column("image", datasets.Image(decode=False)).to_dict()
    whole["image"] = [{"bytes": (folder / "sad" / "0.png").read_bytes(), "path": None}] * 18
    whole["image"][4] = {"bytes": b"nothing", "path": None}
    whole["image"][7] = None
    datasets.Dataset.from_dict(whole, features=rows(folder).features).save_to_disk(tmp_path / "saved")
    with pytest.raises(DataError, match=r"saved/4: cannot be read as an image.*2 such in all"):
        load_data(tmp_path / "saved", 1, 32)
    assert load_data(tmp_path / "saved", 1, 32, skip_bad=True).skipped == 2


def test_a_damaged_hugging_face_set_is_one_line(tmp_path):
    pytest.importorskip("datasets")
    (tmp_path / "state.json").write_text("{}")
    with pytest.raises(DataError, match="cannot be read as a Hugging Face data set"):
        load_data(tmp_path, 1, 32)


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **keywords):
        if name == "datasets":
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    (tmp_path / "dataset_dict.json").write_text("{}")
    with pytest.raises(DataError, match="install the package datasets"):
        load_data(tmp_path, 1, 32)


def test_a_hugging_face_set_can_be_cached(folder, tmp_path, monkeypatch):
    rows(folder).save_to_disk(tmp_path / "saved")
    first = load_data(tmp_path / "saved", 1, 32, cache=tmp_path / "cache")
    monkeypatch.setattr("semantic_aug.data.dataset.decode", None)
    again = load_data(tmp_path / "saved", 1, 32, cache=tmp_path / "cache")
    assert torch.equal(first.images, again.images)
    assert first.files == again.files


# --- torchvision ------------------------------------------------------------------------------------------------


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


@pytest.fixture
def fashion(tmp_path):
    """A ROOT with a tiny FashionMNIST."""
    raw = tmp_path / "data" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name, content in mnist_files().items():
        (raw / name).write_bytes(content)
    return tmp_path / "data"


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


def fer2013_table(path, header, order):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [header]
    for i in range(9):
        cells = {"emotion": str(i % 7), "pixels": " ".join([str(i * 20)] * 48 * 48)}
        cells["Usage"] = "Training" if i < 7 else "PublicTest"
        lines.append(",".join(cells[name] for name in order))
    path.write_text("\n".join(lines) + "\n")


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


# --- RAF-DB -----------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("form", ["Image/aligned/{}_aligned.jpg", "Image/original/{}.jpg"])
def test_rafdb(tmp_path, form):
    raf(tmp_path, form)
    data = load_data(f"rafdb:basic@{tmp_path}", 3, 16)
    assert data.classes == ["surprise", "fear", "disgust", "happy", "sad", "angry", "neutral"]
    assert values(data) == [30, 60, 90, 120, 150, 180, 210]
    assert data.files[0] == tmp_path / form.format("train_00001")
    held_out = load_data(f"rafdb:basic/test@{tmp_path}", 3, 16)
    assert (held_out.classes, held_out.labels.tolist()) == (["happy", "neutral"], [1, 0])


def test_rafdb_in_its_own_folder_and_below_the_default_root(tmp_path, monkeypatch):
    raf(tmp_path / "data" / "basic")
    monkeypatch.chdir(tmp_path)
    assert len(load_data("rafdb:basic", 1, 16)) == 7


def test_a_listed_image_that_is_missing_is_unreadable(tmp_path):
    raf(tmp_path)
    (tmp_path / "Image" / "aligned" / "train_00003_aligned.jpg").unlink()
    with pytest.raises(DataError, match=r"train_00003_aligned\.jpg: cannot be read as an image.*1 such"):
        load_data(f"rafdb:basic@{tmp_path}", 1, 16, cache=tmp_path / "cache")
    listing = tmp_path / "EmoLabel" / "list_patition_label.txt"
    listing.write_text(listing.read_text() + "train_8.jpg 3\n")
    paint(tmp_path / "Image" / "aligned" / "train_8_aligned.jpg", 5)
    for _ in range(2):
        data = load_data(f"rafdb:basic@{tmp_path}", 1, 16, skip_bad=True, cache=tmp_path / "cache")
        assert (data.skipped, data.counts(), len(data.files)) == (1, [1] * 7, 7)


def test_a_changed_label_is_no_hit_of_the_cache(tmp_path):
    raf(tmp_path)
    load_data(f"rafdb:basic/test@{tmp_path}", 1, 16, cache=tmp_path / "cache")
    listing = tmp_path / "EmoLabel" / "list_patition_label.txt"
    listing.write_text(listing.read_text().replace("test_0002.jpg 4", "test_0002.jpg 1"))
    assert load_data(f"rafdb:basic/test@{tmp_path}", 1, 16, cache=tmp_path / "cache").classes == ["surprise", "neutral"]


def test_rafdb_misused(tmp_path):
    with pytest.raises(DataError, match=r"list_patition_label\.txt: no such file; the ROOT of rafdb:basic has"):
        load_data(f"rafdb:basic@{tmp_path}", 1, 16)
    with pytest.raises(DataError, match=r"rafdb: has basic, not 'compound'.*rafdb:basic\[/SPLIT\]"):
        load_data(f"rafdb:compound@{tmp_path}", 1, 16)
    with pytest.raises(DataError, match="rafdb:basic has the splits train and test, not 'val'"):
        load_data(f"rafdb:basic/val@{tmp_path}", 1, 16)
    raf(tmp_path)
    (tmp_path / "EmoLabel" / "list_patition_label.txt").write_text("train_00001.jpg 1\ntrain_00002.jpg 8\n")
    with pytest.raises(DataError, match=r"line 2 is 'train_00002\.jpg 8'; expected one like"):
        load_data(f"rafdb:basic@{tmp_path}", 1, 16)


# --- AffectNet --------------------------------------------------------------------------------------------------


def annotated(folder, labels, stored=str):
    """AffectNet's newer layout: picture i has the value 20 i, its label is stored as text."""
    (folder / "annotations").mkdir(parents=True)
    for number, label in enumerate(labels):
        paint(folder / "images" / f"{number}.jpg", number * 20)
        np.save(folder / "annotations" / f"{number}_exp.npy", np.array(stored(label)))
        np.save(folder / "annotations" / f"{number}_val.npy", np.array("0.5"))


@pytest.mark.parametrize("stored", [str, int])
def test_affectnet(tmp_path, stored):
    annotated(tmp_path / "train_set", range(9), stored)
    annotated(tmp_path / "val_set", [3, 0, 3], stored)
    data = load_data(f"affectnet:8@{tmp_path}", 1, 16)
    assert data.classes == ["neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt"]
    assert values(data) == [20 * i for i in range(8)]
    seven = load_data(f"affectnet:7/train@{tmp_path}", 1, 16)
    assert (seven.classes, len(seven)) == (data.classes[:7], 7)
    held_out = load_data(f"affectnet:8/val@{tmp_path}", 1, 16)
    assert (held_out.classes, held_out.labels.tolist()) == (["neutral", "surprise"], [1, 0, 1])


def test_affectnet_without_contempt_has_no_empty_class(tmp_path):
    annotated(tmp_path / "train_set", range(7))
    assert load_data(f"affectnet:8@{tmp_path}", 1, 16).classes[-1] == "angry"


def test_an_annotation_that_cannot_be_read_is_named(tmp_path):
    annotated(tmp_path / "train_set", [0, 1, 2])
    bad = tmp_path / "train_set" / "annotations" / "1_exp.npy"
    np.save(bad, np.array([{"a": 1}], dtype=object), allow_pickle=True)  # runs code where it is unpickled
    with pytest.raises(DataError, match=r"1_exp\.npy: cannot be read as the label of 1\.jpg \(.*allow_pickle"):
        load_data(f"affectnet:8@{tmp_path}", 1, 16)
    bad.write_bytes(b"")
    with pytest.raises(DataError, match=r"1_exp\.npy: cannot be read"):
        load_data(f"affectnet:8@{tmp_path}", 1, 16)
    bad.unlink()
    with pytest.raises(DataError, match=r"1_exp\.npy: cannot be read"):
        load_data(f"affectnet:8@{tmp_path}", 1, 16)


@pytest.mark.parametrize("nested", [False, True])
def test_the_older_layout_of_affectnet(tmp_path, nested):
    header = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
    tables = tmp_path / "Manually_Annotated_file_lists" if nested else tmp_path
    images = tmp_path / "Manually_Annotated_Images" if nested else tmp_path
    tables.mkdir(exist_ok=True)
    lines = [f"{label}/{label}.png,0,0,8,8,1;2,{label},0.1,-0.1" for label in (1, 7, 8, 10, 0)]
    (tables / "training.csv").write_text("\n".join([header, *lines]) + "\n")
    (tables / "validation.csv").write_text("\n".join(lines[:1]) + "\n")  # published without a header
    for label in (0, 1, 7):
        paint(images / str(label) / f"{label}.png", label * 30)
    data = load_data(f"affectnet:8@{tmp_path}", 1, 16)
    assert (data.classes, data.labels.tolist()) == (["neutral", "happy", "contempt"], [1, 2, 0])
    assert values(data) == [30, 210, 0]
    assert load_data(f"affectnet:7@{tmp_path}", 1, 16).classes == ["neutral", "happy"]
    assert load_data(f"affectnet:7/val@{tmp_path}", 1, 16).classes == ["happy"]


def test_affectnet_misused(tmp_path):
    with pytest.raises(DataError, match=r"has neither train_set/images nor training\.csv"):
        load_data(f"affectnet:7@{tmp_path}", 1, 16)
    with pytest.raises(DataError, match="affectnet: has 7 and 8, not '9'"):
        load_data(f"affectnet:9@{tmp_path}", 1, 16)
    with pytest.raises(DataError, match="affectnet:7 has the splits train and val, not 'test'"):
        load_data(f"affectnet:7/test@{tmp_path}", 1, 16)
    (tmp_path / "training.csv").write_text("subDirectory_filePath,expression\n1/1.png,happy\n")
    with pytest.raises(DataError, match=r"training\.csv: expected subDirectory_filePath and expression in every row"):
        load_data(f"affectnet:7@{tmp_path}", 1, 16)
    (tmp_path / "training.csv").write_text("subDirectory_filePath,expression\n")
    with pytest.raises(DataError, match="has no images"):
        load_data(f"affectnet:7@{tmp_path}", 1, 16)


def test_every_source_tells_where_its_images_are(tmp_path, folder, fashion):
    raf(tmp_path / "raf")
    annotated(tmp_path / "affect" / "train_set", [0, 1])
    specs = [folder, f"torchvision:FashionMNIST@{fashion}", f"rafdb:basic@{tmp_path / 'raf'}"]
    for spec in [*specs, f"affectnet:7@{tmp_path / 'affect'}"]:
        source = find_source(spec)
        assert len(source.files) == len(source.labels) == len(set(source.files))
        assert set(source.labels) == set(range(len(source.classes)))
    assert json.dumps(source.labels)  # plain ints: the cache's name is made of them
