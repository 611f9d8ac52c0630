"""Data sets of facial expressions as published."""

import os
import resource

import numpy as np
import pytest

from semantic_aug.data.dataset import load_data
from semantic_aug.data.source import DataError
from tests.data.conftest import annotated, fer2013_table, paint, raf, values


def test_rafdb(tmp_path):
    raf(tmp_path)
    data = load_data(f"rafdb:basic@{tmp_path}", 3, 16)
    assert data.classes == ["surprise", "fear", "disgust", "happy", "sad", "angry", "neutral"]
    assert values(data) == [30, 60, 90, 120, 150, 180, 210]
    assert data.files[0] == tmp_path / "Image" / "aligned" / "train_00001_aligned.jpg"
    held_out = load_data(f"rafdb:basic/test@{tmp_path}", 3, 16)
    assert (held_out.classes, held_out.labels.tolist()) == (["happy", "neutral"], [1, 0])


def test_whole_photographs_of_rafdb_are_not_taken_for_faces(tmp_path):
    raf(tmp_path, "Image/original/{}.jpg")
    with pytest.raises(DataError, match=r"Image/aligned: no such folder; get the aligned faces of RAF-DB, or crop"):
        load_data(f"rafdb:basic@{tmp_path}", 1, 16)


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
    with pytest.raises(
        DataError, match=r"list_patition_label\.txt, line 2: expected one like .*, got 'train_00002\.jpg 8'"
    ):
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
    with pytest.raises(DataError, match=r"training\.csv, line 2: expected the path of an image and a number as its"):
        load_data(f"affectnet:7@{tmp_path}", 1, 16)
    (tmp_path / "training.csv").write_text("subDirectory_filePath,expression\n")
    with pytest.raises(DataError, match="has no images"):
        load_data(f"affectnet:7@{tmp_path}", 1, 16)


@pytest.mark.parametrize("header", [True, False])
def test_tables_with_a_byte_order_mark(tmp_path, header):
    """As a spreadsheet saves them; the mark is no part of the first word."""
    raf(tmp_path / "raf")
    listing = tmp_path / "raf" / "EmoLabel" / "list_patition_label.txt"
    columns = "subDirectory_filePath,a,b,c,d,e,expression\n" if header else ""
    (tmp_path / "affect").mkdir()
    paint(tmp_path / "affect" / "1.png", 30)
    table = tmp_path / "affect" / "training.csv"
    table.write_text(f"{columns}1.png,0,0,0,0,0,3\n")
    fer2013_table(tmp_path / "fer2013.csv")
    for path in (listing, table, tmp_path / "fer2013.csv"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(load_data(f"rafdb:basic@{tmp_path / 'raf'}", 1, 16)) == 7
    assert load_data(f"affectnet:8@{tmp_path / 'affect'}", 1, 16).classes == ["surprise"]
    assert len(load_data(tmp_path / "fer2013.csv", 1, 48)) == 7


def test_the_line_of_a_wrong_row_is_named(tmp_path):
    table = tmp_path / "training.csv"
    rows = "subDirectory_filePath,expression\n\n1.png,1\n"
    for row in ("2.png", "2.png,sad", "2.png,-1", "2.png,"):
        table.write_text(f"{rows}{row}\n")
        with pytest.raises(DataError, match=r"training\.csv, line 4: expected the path of an image and a number"):
            load_data(f"affectnet:8@{tmp_path}", 1, 16)
    table.write_text("path,expression\n1.png,1\n")
    with pytest.raises(DataError, match=r"line 1: expected a column subDirectory_filePath, got 'path, expression'"):
        load_data(f"affectnet:8@{tmp_path}", 1, 16)
    table.write_text(f"{rows}{'x' * 200_000},1\n")
    with pytest.raises(DataError, match=r"training\.csv, line 4: cannot be read as CSV \(field larger"):
        load_data(f"affectnet:8@{tmp_path}", 1, 16)


# --- FER2013 ----------------------------------------------------------------------------------------------------


def fer2013_rows(path, *rows):
    """FER2013's file, a row for each (emotion, value of all pixels, usage)."""
    lines = ["emotion,pixels,Usage", *(f"{k},{' '.join([str(value)] * 48 * 48)},{usage}" for k, value, usage in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_fer2013s_file_and_its_splits(tmp_path):
    rows = [(4, 10, "Training"), (0, 20, "PublicTest"), (6, 30, "PrivateTest"), (3, 40, "Training")]
    table = fer2013_rows(tmp_path / "fer2013.csv", *rows)
    data = load_data(table, 1, 48)
    assert (data.classes, data.labels.tolist(), values(data)) == (["happy", "sad"], [1, 0], [10, 40])
    assert data.files == [table / "2", table / "5"]
    assert data.name == f"{table}/train"
    for split, name, value in (("train", "sad", 10), ("validation", "angry", 20), ("test", "neutral", 30)):
        data = load_data(f"{table}/{split}", 3, 24)
        assert data.images.shape[1:] == (3, 24, 24)
        assert name in data.classes
        assert values(data)[0] == value
    with pytest.raises(DataError, match=r"fer2013\.csv: has the splits train, validation and test, not 'val'"):
        load_data(table / "val", 1, 48)


def test_fer2013s_file_is_read_as_torchvision_reads_it(tmp_path, monkeypatch):
    from torchvision.datasets import FER2013

    monkeypatch.setattr(FER2013, "_RESOURCES", {key: (name, None) for key, (name, _) in FER2013._RESOURCES.items()})
    table = tmp_path / "fer2013" / "fer2013.csv"
    table.parent.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (9, 48 * 48))
    lines = [
        f"{k % 7},{' '.join(map(str, row))},{'Training' if k < 7 else 'PublicTest'}" for k, row in enumerate(pixels)
    ]
    table.write_text("\n".join(["emotion,pixels,Usage", *lines]))
    found, known = load_data(table, 1, 48), load_data(f"torchvision:FER2013@{tmp_path}", 1, 48)
    assert (found.images == known.images).all()
    assert (found.labels.tolist(), found.classes) == (known.labels.tolist(), known.classes)
    assert found.images.flatten(1).tolist() == pixels[:7].tolist()


def test_columns_of_fer2013_in_another_order(tmp_path):
    """As in icml_face_data.csv, which has blanks in its header too."""
    fer2013_table(tmp_path / "faces.CSV", "emotion, Usage, pixels", ["emotion", "Usage", "pixels"])
    assert values(load_data(tmp_path / "faces.CSV", 1, 48)) == [20 * i for i in range(7)]


@pytest.mark.parametrize("damage", ["1 2 3", "1 " * 2303 + "256", "1 " * 2303 + "x", ""])
def test_a_damaged_row_is_an_image_that_cannot_be_read(tmp_path, damage):
    table = fer2013_rows(tmp_path / "fer2013.csv", (4, 10, "Training"), (4, 20, "Training"))
    table.write_text(f"{table.read_text()}4,{damage},Training\n")
    with pytest.raises(DataError, match=r"fer2013\.csv/4: cannot be read as an image .*1 such in all"):
        load_data(table, 1, 48)
    data = load_data(table, 1, 48, skip_bad=True)
    assert (values(data), data.skipped) == ([10, 20], 1)


def test_fer2013_misused(tmp_path):
    table = tmp_path / "fer2013.csv"
    for text, message in (
        ("", r"line 1: expected the columns emotion, pixels and Usage, got ''"),
        ("pixels\n1 2\n", r"line 1: expected the columns emotion, pixels and Usage, got 'pixels'"),
        ("emotion,pixels,Usage\n7,1 2,Training\n", r"line 2: expected an emotion from 0 to 6, got '7'"),
        ("emotion,pixels,Usage\n\n3,1 2,train\n", r"line 3: expected a Usage of Training, PublicTest or PrivateTest"),
        ("emotion,pixels,Usage\n3\n", r"line 2: expected a Usage of"),
        ("emotion,pixels,Usage\n", r"/train: has no images"),
    ):
        table.write_text(text)
        with pytest.raises(DataError, match=rf"fer2013\.csv(, )?{message}"):
            load_data(table, 1, 48)


def test_splits_of_fer2013_with_the_same_labels_are_cached_apart(tmp_path):
    rows = [(k, 10 + i, usage) for i, usage in enumerate(("Training", "PublicTest")) for k in range(7)]
    table = fer2013_rows(tmp_path / "fer2013.csv", *rows)
    for _ in range(2):
        assert values(load_data(table, 1, 48, cache=tmp_path / "cache")) == [10] * 7
        assert values(load_data(table / "validation", 1, 48, cache=tmp_path / "cache")) == [11] * 7
    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.parametrize("name", ["../secret.png", "/etc/secret.png", "a/../../secret.png"])
def test_a_path_of_a_table_that_leads_out_of_its_folder_is_refused(tmp_path, name):
    (tmp_path / "training.csv").write_text(f"{name},0,0,8,8,1;2,3,0.1,-0.1\n")
    with pytest.raises(DataError, match=r"training\.csv, line 1: .* is no path of a file below it"):
        load_data(f"affectnet:8@{tmp_path}", 1, 16)


def test_a_large_annotation_is_not_read(tmp_path):
    annotated(tmp_path / "train_set", [0, 1, 2])
    with (tmp_path / "train_set" / "annotations" / "1_exp.npy").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(DataError, match=r"1_exp\.npy: cannot be read as the label .* has 1099511627776 bytes"):
        load_data(f"affectnet:8@{tmp_path}", 1, 16)


def test_a_row_without_an_end_is_not_read_whole(tmp_path):
    table = tmp_path / "fer2013.csv"
    table.write_text("emotion,pixels,Usage\n")
    os.truncate(table, 1 << 28)  # as after a power failure
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=r"fer2013.csv, line 2: cannot be read as CSV"):
        load_data(table, 1, 48)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 17  # kB
