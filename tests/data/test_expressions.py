"""Data sets of facial expressions as published."""

import numpy as np
import pytest

from semantic_aug.data.dataset import load_data
from semantic_aug.data.source import DataError
from tests.data.conftest import annotated, paint, raf, values


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
