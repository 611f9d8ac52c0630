"""Decoded images that are kept, and not used once the data has changed."""

import os

import pytest
import torch
from PIL import Image

from semantic_aug._io import save_with_digest
from semantic_aug.data import dataset as data_module
from semantic_aug.data.cache import stamp
from semantic_aug.data.dataset import hold_out, load_data, load_folder
from semantic_aug.data.decoding import decode
from semantic_aug.data.folder import open_folder
from semantic_aug.data.source import DataError
from tests.conftest import write_folder


@pytest.fixture
def decoded(monkeypatch):
    """Sizes of the sources that were decoded, in order."""
    sizes = []

    def counted(source, *arguments, **keywords):
        sizes.append(len(source.files))
        return decode(source, *arguments, **keywords)

    monkeypatch.setattr(data_module, "decode", counted)
    return sizes


def same(a, b):
    return (
        torch.equal(a.images, b.images)
        and torch.equal(a.labels, b.labels)
        and (a.classes, a.files, a.skipped) == (b.classes, b.files, b.skipped)
    )


@pytest.mark.parametrize("skip_bad", [False, True])
def test_a_file_that_vanishes_while_the_folder_is_read_is_named(folder, monkeypatch, skip_bad, tmp_path):
    def vanish(source, *arguments, **keywords):
        (folder / "happy" / "3.png").unlink()
        return decode(source, *arguments, **keywords)

    monkeypatch.setattr(data_module, "decode", vanish)
    with pytest.raises(DataError, match=r"happy/3\.png: gone since .*faces was listed"):
        load_data(folder, 1, 32, skip_bad=skip_bad, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_cache_is_used_again(folder, tmp_path, decoded):
    (folder / "happy" / "3.png").write_bytes(b"x")
    plain = load_data(folder, 1, 32, skip_bad=True)
    cache = tmp_path / "new" / "cache"
    assert same(load_data(folder, 1, 32, skip_bad=True, cache=cache), plain)
    assert same(load_data(str(folder), 1, 32, skip_bad=True, cache=str(cache)), plain)
    assert decoded == [18, 18]
    assert [path.suffix for path in cache.iterdir()] == [".safetensors"]


def test_a_cached_set_can_be_used_as_any(folder, tmp_path):
    for _ in range(2):
        data = load_data(folder, 1, 32, cache=tmp_path / "cache")
    assert data.batch(slice(0, 3)).shape == (3, 1, 32, 32)
    assert hold_out(data, 0.25, seed=1)[1].files == hold_out(load_folder(folder, 1, 32), 0.25, seed=1)[1].files


def touch(path, seconds):
    found = os.stat(path)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns + int(seconds * 1e9)))


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: Image.new("L", (9, 9), 77).save(folder / "sad" / "2.png"),
        lambda folder: (folder / "sad" / "2.png").unlink(),
        lambda folder: Image.new("L", (9, 9)).save(folder / "sad" / "new.png"),
        lambda folder: (folder / "sad" / "2.png").rename(folder / "sad" / "7.png"),
        lambda folder: (folder / "sad" / "2.png").rename(folder / "happy" / "7.png"),
        lambda folder: (folder / "sad").rename(folder / "glum"),
        lambda folder: touch(folder / "sad" / "2.png", 0.001),
    ],
    ids=["content", "removed", "added", "renamed", "moved", "class", "time"],
)
def test_a_cache_does_not_outlive_a_change_of_the_files(folder, tmp_path, decoded, change):
    load_data(folder, 1, 32, cache=tmp_path / "cache")
    change(folder)
    assert same(load_data(folder, 1, 32, cache=tmp_path / "cache"), load_folder(folder, 1, 32))
    assert len(decoded) == 3


def test_a_cache_belongs_to_one_request(folder, tmp_path, decoded):
    for channels, size in [(1, 32), (3, 32), (1, 16)]:
        assert load_data(folder, channels, size, cache=tmp_path).images.shape == (18, channels, size, size)
    load_data(folder, 1, 16, skip_bad=True, cache=tmp_path)
    assert len(decoded) == 4


def test_training_and_validation_images_stay_in_the_cache(folder, tmp_path, decoded):
    other = write_folder(tmp_path / "validation", per_class=2)
    cache = tmp_path / "cache"
    cache.mkdir()
    for number in range(3):
        for data in (folder, other):
            for path in cache.iterdir():
                touch(path, -10)  # as if time had passed
            load_data(data, 1, 32, cache=cache)
        Image.new("L", (9, 9)).save(other / "sad" / f"new-{number}.png")
    assert decoded == [18, 6, 7, 8]
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("keep", [0, 5, 0.5, 0.99])
def test_a_broken_cache_is_written_anew(folder, tmp_path, decoded, keep):
    plain = load_data(folder, 1, 32, cache=tmp_path)
    (path,) = tmp_path.glob("images-*")
    whole = path.read_bytes()
    path.write_bytes(whole[: keep if isinstance(keep, int) else int(len(whole) * keep)])
    for _ in range(2):
        assert same(load_data(folder, 1, 32, cache=tmp_path), plain)
    assert decoded == [18, 18]
    assert path.stat().st_size == len(whole)


@pytest.mark.parametrize("change", ["a flipped bit", "other labels", "no images", "wrong numbers"])
def test_a_cache_with_a_wrong_content_is_written_anew(folder, tmp_path, decoded, change):
    plain = load_data(folder, 1, 32, cache=tmp_path)
    (path,) = tmp_path.glob("images-*")
    tensors = {"images": plain.images.clone(), "kept": torch.arange(18)}
    if change == "a flipped bit":
        content = bytearray(path.read_bytes())
        content[-1000] ^= 4
        path.write_bytes(content)
    else:
        wrong = {
            "other labels": {"kept": torch.arange(18).flip(0)},
            "no images": {"images": plain.images[:0], "kept": torch.arange(0)},
            "wrong numbers": {"kept": torch.arange(18) + 1},
        }
        save_with_digest(tensors | wrong[change], path, {})
    assert same(load_data(folder, 1, 32, cache=tmp_path), plain)
    assert decoded == [18, 18]


def test_a_named_pipe_in_a_cache_keeps_nobody_waiting(folder, tmp_path, decoded):
    plain = load_data(folder, 1, 32, cache=tmp_path)
    (path,) = tmp_path.glob("images-*")
    path.unlink()
    os.mkfifo(path)
    assert same(load_data(folder, 1, 32, cache=tmp_path), plain)


def test_other_files_in_a_cache_directory_are_left_alone(folder, tmp_path):
    for name in ("model.safetensors", "images.safetensors"):
        (tmp_path / name).write_text("mine")
    for size in (8, 16, 24):
        load_data(folder, 1, size, cache=tmp_path)
    assert (tmp_path / "model.safetensors").read_text() == (tmp_path / "images.safetensors").read_text() == "mine"
    assert len(list(tmp_path.glob("images-*"))) == 2


def test_images_that_change_while_they_are_read_are_not_kept(folder, tmp_path, monkeypatch):
    def change(source, *arguments, **keywords):
        Image.new("L", (9, 9), 77).save(folder / "sad" / "2.png")
        return decode(source, *arguments, **keywords)

    monkeypatch.setattr(data_module, "decode", change)
    load_data(folder, 1, 32, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_cannot_be_written_is_a_warning(folder, tmp_path, monkeypatch):
    def full(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr("semantic_aug._io.save_file", full)
    with pytest.warns(UserWarning, match="cannot be kept in .*No space left"):
        data = load_data(folder, 1, 32, cache=tmp_path / "cache")
    assert len(data) == 18
    assert not list((tmp_path / "cache").iterdir())


def test_a_cache_that_is_a_file_is_a_warning(folder, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.warns(UserWarning, match="cannot be kept in .*cache"):
        assert len(load_data(folder, 1, 32, cache=tmp_path / "cache")) == 18
    assert (tmp_path / "cache").read_text() == "a file"


def test_a_stamp_changes_with_the_files_alone(folder, monkeypatch):
    before = stamp(open_folder(folder))
    monkeypatch.chdir(folder.parent)
    assert stamp(open_folder(folder.name)) == before
    os.utime(folder / "sad" / "2.png", (1, 1))
    assert stamp(open_folder(folder)) != before
