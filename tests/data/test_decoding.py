"""Decoding: in order, by any number of threads, and what cannot be decoded."""

import pytest
import torch
from PIL import Image

from semantic_aug.data import decoding
from semantic_aug.data.dataset import load_data, load_folder
from semantic_aug.data.decoding import decode, find_readable
from semantic_aug.data.folder import open_folder
from semantic_aug.data.source import DataError
from semantic_aug.images import file_to_bytes


def test_the_result_does_not_depend_on_the_threads(folder):
    (folder / "happy" / "3.png").write_bytes(b"x")
    source = open_folder(folder)
    expected = torch.stack([file_to_bytes(str(path), 3, 24) for i, path in enumerate(source.files) if i != 9])
    for threads in (1, 2, 7):
        images, kept = decode(source, 3, 24, skip_bad=True, threads=threads)
        assert torch.equal(images, expected)
        assert kept.tolist() == [i for i in range(18) if i != 9]


def test_a_folder_of_many_chunks_keeps_its_order(tmp_path, monkeypatch):
    (tmp_path / "only").mkdir()
    for number in range(20):
        Image.new("L", (8, 8), number * 10).save(tmp_path / "only" / f"{number:02}.png")
    monkeypatch.setattr(decoding, "CHUNK", 3)
    data = load_data(tmp_path, 1, 8)
    assert data.images[:, 0, 0, 0].tolist() == [number * 10 for number in range(20)]


@pytest.mark.parametrize("damage", ["text", "truncated", "empty", "huge"])
def test_an_unreadable_image_is_named_and_counted(folder, damage):
    good = (folder / "happy" / "0.png").read_bytes()
    content = {
        "text": b"not an image",
        "truncated": good[: len(good) // 2],
        "empty": b"",
        "huge": b"P5 100000 100000 255 ",  # says it has 1e10 pixels
    }[damage]
    for name in ("bad.png", "worse.png"):
        (folder / "happy" / name).write_bytes(content)
    with pytest.raises(DataError, match=r"happy/bad\.png: cannot be read.*2 such in all \(--skip-bad"):
        load_data(folder, 1, 32)
    data = load_data(folder, 1, 32, skip_bad=True)
    assert (len(data), data.skipped, data.counts()) == (18, 2, [6, 6, 6])
    assert all(path.name[0].isdigit() for path in data.files)


def test_a_link_to_nowhere_is_an_unreadable_image(folder):
    (folder / "happy" / "link.png").symlink_to(folder / "nothing.png")
    with pytest.raises(DataError, match=r"link\.png: cannot be read"):
        load_data(folder, 1, 32)
    assert load_data(folder, 1, 32, skip_bad=True).skipped == 1


def test_a_class_of_unreadable_images_is_refused(folder):
    for path in (folder / "sad").iterdir():
        path.write_bytes(b"x")
    with pytest.raises(DataError, match="sad: none of its images can be read"):
        load_folder(folder, 1, 32, skip_bad=True)


def test_the_message_is_short_whatever_the_file_is_called(folder):
    source = open_folder(folder)
    source.files[3] = folder / ("9" * 5000)
    with pytest.raises(DataError, match=f"{folder}/9+: cannot be read as an image") as caught:
        find_readable(source)
    assert len(str(caught.value)) < 1500


def test_readable_names_what_can_be_read(folder):
    (folder / "sad" / "2.png").write_bytes(b"broken")
    source = open_folder(folder)
    with pytest.raises(DataError, match=r"sad/2.png: cannot be read as an image .*; 1 such in all"):
        find_readable(source)
    assert find_readable(source, skip_bad=True).tolist() == [i for i in range(18) if i != 14]
