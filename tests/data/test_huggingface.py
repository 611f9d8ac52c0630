"""Hugging Face data sets that were written to disk."""

import builtins

import pytest
import torch
from PIL import Image

from semantic_aug.data.dataset import load_data, load_folder
from semantic_aug.data.folder import scan_folder
from semantic_aug.data.source import DataError
from semantic_aug.images import file_to_bytes
from tests.conftest import CLASSES


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


def test_classes_whose_names_are_numbers_are_refused(folder, tmp_path):
    rows(folder).save_to_disk(tmp_path / "saved")
    info = tmp_path / "saved" / "dataset_info.json"
    info.write_text(info.read_text().replace('"angry"', "7"))
    with pytest.raises(DataError, match=r"saved: cannot be read as a Hugging Face data set"):
        load_data(tmp_path / "saved", 1, 32)


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


def test_a_wrong_offset_in_an_arrow_file_is_found_before_it_crashes_the_process(folder, tmp_path):
    saved = tmp_path / "saved"
    data = rows(folder)
    data.save_to_disk(saved)
    (file,) = saved.glob("*.arrow")
    lengths = [len(path.read_bytes()) for path in scan_folder(folder)[1]]
    offsets = torch.tensor([0, *lengths]).cumsum(0).to(torch.int32)
    content = file.read_bytes()
    assert content.count(offsets.numpy().tobytes()) == 1
    wrong = offsets.clone()
    wrong[7:] += 1 << 30
    file.write_bytes(content.replace(offsets.numpy().tobytes(), wrong.numpy().tobytes()))
    with pytest.raises(DataError, match=f"{saved}: cannot be read as a Hugging Face data set"):
        load_data(str(saved), 1, 24)
