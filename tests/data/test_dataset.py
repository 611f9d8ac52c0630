import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from semantic_aug.data import dataset as data_module
from semantic_aug.data.dataset import (
    BalancedOrder,
    DataError,
    EndlessOrder,
    ImageSet,
    cut_to_imbalance,
    decode,
    hold_out,
    load_data,
    load_folder,
    readable,
    seeded,
    stamp,
)
from semantic_aug.data.source import image_folder
from semantic_aug.images import file_to_bytes
from tests.conftest import CLASSES, write_folder


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


def test_a_folder_becomes_tensors(folder):
    (folder / ".hidden").mkdir()
    (folder / "angry" / "notes.txt").write_text("no image")
    data = load_folder(folder, 3, 32)
    assert data.classes == CLASSES
    assert data.images.shape == (18, 3, 32, 32)
    assert data.images.dtype == torch.uint8
    assert data.counts() == [6, 6, 6]
    assert data.labels.tolist() == [0] * 6 + [1] * 6 + [2] * 6
    batch = data.batch(torch.tensor([0, 17]))
    assert batch.dtype == torch.float32
    assert batch.abs().max() <= 1
    part = data.subset([17, 0])
    assert (part.labels.tolist(), part.files) == ([2, 0], [data.files[17], data.files[0]])


def test_mixed_sizes_formats_and_modes(folder):
    Image.new("RGBA", (100, 20), "red").save(folder / "angry" / "a.webp")
    Image.new("P", (5, 5)).save(folder / "angry" / "b.GIF")
    assert load_folder(folder, 1, 48).images.shape == (20, 1, 48, 48)


def save_every_kind(folder):
    """Pictures of the kinds that folders hold, dark in the left half: file name => image."""
    grey = np.zeros((20, 30), np.uint8)
    grey[:, 15:] = 200
    picture = Image.fromarray(grey)
    rotated = picture.rotate(90, expand=True)  # stored on its side
    exif = rotated.getexif()
    exif[0x0112] = 6  # to be turned back by 90 degrees
    folder.mkdir(parents=True)
    Image.fromarray(grey.astype(np.uint16) << 8).save(folder / "16bit.png")
    picture.convert("CMYK").save(folder / "cmyk.jpg", quality=95)
    picture.convert("RGB").convert("P", palette=Image.Palette.ADAPTIVE).save(folder / "palette.png")
    picture.convert("1").save(folder / "bilevel.tif")
    rotated.save(folder / "rotated.jpg", quality=95, exif=exif)
    later = Image.new("L", picture.size, 255)
    picture.save(folder / "animated.gif", save_all=True, append_images=[later])
    picture.save(folder / "animated.webp", save_all=True, append_images=[later], lossless=True)
    picture.save(folder / "UPPER.PNG")
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("channels", [1, 3])
def test_every_kind_of_picture_is_converted(tmp_path, channels):
    names = save_every_kind(tmp_path / "data" / "only")
    data = load_data(tmp_path / "data", channels, 32)
    assert [path.name for path in data.files] == names
    for name, image in zip(names, data.images, strict=True):
        left, right = image[:, :, :14].float(), image[:, :, 18:].float()
        assert left.max() < 12, name
        assert right.mean() > 180, name


def test_a_picture_of_one_pixel_and_a_class_of_one_picture(tmp_path):
    (tmp_path / "only").mkdir()
    Image.new("RGB", (1, 1), (255, 0, 10)).save(tmp_path / "only" / "a.png")
    data = load_data(tmp_path, 3, 16)
    assert (data.counts(), data.classes) == ([1], ["only"])
    assert torch.equal(
        data.images, torch.tensor([255, 0, 10], dtype=torch.uint8)[None, :, None, None].expand(1, 3, 16, 16)
    )


def test_the_result_does_not_depend_on_the_threads(folder):
    (folder / "happy" / "3.png").write_bytes(b"x")
    source = image_folder(folder)
    expected = torch.stack([file_to_bytes(str(path), 3, 24) for i, path in enumerate(source.files) if i != 9])
    for threads in (1, 2, 7):
        images, kept = decode(source, 3, 24, skip_bad=True, threads=threads)
        assert torch.equal(images, expected)
        assert kept.tolist() == [i for i in range(18) if i != 9]


def test_a_folder_of_many_chunks_keeps_its_order(tmp_path, monkeypatch):
    (tmp_path / "only").mkdir()
    for number in range(20):
        Image.new("L", (8, 8), number * 10).save(tmp_path / "only" / f"{number:02}.png")
    monkeypatch.setattr(data_module, "CHUNK", 3)
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


@pytest.mark.parametrize("skip_bad", [False, True])
def test_a_file_that_vanishes_while_the_folder_is_read_is_named(folder, monkeypatch, skip_bad, tmp_path):
    def vanish(source, *arguments, **keywords):
        (folder / "happy" / "3.png").unlink()
        return decode(source, *arguments, **keywords)

    monkeypatch.setattr(data_module, "decode", vanish)
    with pytest.raises(DataError, match=r"happy/3\.png: gone since .*faces was listed"):
        load_data(folder, 1, 32, skip_bad=skip_bad, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_class_of_unreadable_images_is_refused(folder):
    for path in (folder / "sad").iterdir():
        path.write_bytes(b"x")
    with pytest.raises(DataError, match="sad: none of its images can be read"):
        load_folder(folder, 1, 32, skip_bad=True)


# --- Cache ------------------------------------------------------------------------------------------------------


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


# --- Parts and orders -------------------------------------------------------------------------------------------


def test_hold_out_is_a_seeded_partition(folder):
    data = load_folder(folder, 1, 32)
    training, held_out = hold_out(data, 0.25, seed=1)
    assert (len(training), len(held_out)) == (14, 4)
    assert set(training.files) | set(held_out.files) == set(data.files)
    assert hold_out(data, 0.25, seed=1)[1].files == held_out.files
    assert hold_out(data, 0.25, seed=2)[1].files != held_out.files
    assert len(hold_out(data, 0.0, seed=1)[1]) == 0
    assert len(hold_out(data, 1e-6, seed=1)[1]) == 1
    assert len(hold_out(data, 0.999, seed=1)[0]) == 1


def test_the_order_can_start_anywhere_and_visits_all():
    n = 7
    whole = EndlessOrder(n, seed=3)(0, 40)
    for start in range(0, 30):
        assert torch.equal(EndlessOrder(n, seed=3)(start, 10), whole[start : start + 10])
    for epoch in range(5):
        assert sorted(whole[epoch * n : (epoch + 1) * n].tolist()) == list(range(n))
    assert whole[:n].tolist() != whole[n : 2 * n].tolist()


def labelled(counts):
    """A set with these many images per class, in mixed order."""
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    labels = labels[torch.randperm(len(labels))]
    n = len(labels)
    images = torch.arange(n).reshape(n, 1, 1, 1).to(torch.uint8)
    return ImageSet(images, labels, [f"class {k}" for k in range(len(counts))], [f"file {i}" for i in range(n)])


def test_a_long_tail_has_the_counts_of_its_formula():
    data = labelled([500] * 10)
    cut = cut_to_imbalance(data, 100, seed=0)
    # round(500 * 100 ** (-k / 9)), worked out by hand
    assert cut.counts() == [500, 300, 180, 108, 65, 39, 23, 14, 8, 5]
    assert cut.classes == data.classes
    assert cut_to_imbalance(data, 1, seed=0).counts() == [500] * 10


def test_a_long_tail_is_a_seeded_draw_in_the_original_order():
    data = labelled([40] * 4)
    cut = cut_to_imbalance(data, 10, seed=1)
    assert cut.files == cut_to_imbalance(data, 10, seed=1).files
    assert cut.files != cut_to_imbalance(data, 10, seed=2).files
    numbers = [int(name.split()[1]) for name in cut.files]
    assert numbers == sorted(set(numbers))
    assert cut.images.flatten().tolist() == numbers
    assert torch.equal(cut.labels, data.labels[numbers])
    assert set(cut_to_imbalance(data, 20, seed=1).files) < set(cut.files)


def test_a_long_tail_of_unequal_classes():
    assert cut_to_imbalance(labelled([10, 100, 7]), 100, seed=0).counts() == [10, 10, 1]
    assert cut_to_imbalance(labelled([10, 10, 10]), 1e6, seed=0).counts() == [10, 1, 1]
    assert cut_to_imbalance(labelled([10]), 100, seed=0).counts() == [10]
    gap = replace(labelled([10, 10]), classes=["class 0", "class 1", "nothing"])
    assert cut_to_imbalance(gap, 10, seed=0).counts() == [10, 3, 0]


@pytest.mark.parametrize("ratio", [0.99, 0, -1, float("nan")])
def test_a_ratio_below_1_is_refused(ratio):
    with pytest.raises(ValueError, match="at least 1"):
        cut_to_imbalance(labelled([3, 3]), ratio, seed=0)


def test_a_balanced_order_can_start_anywhere():
    labels = torch.tensor([0] * 7 + [1] * 2 + [2] * 1)
    whole = BalancedOrder(labels, seed=3)(0, 60)
    for start in range(50):
        assert torch.equal(BalancedOrder(labels, seed=3)(start, 10), whole[start : start + 10])
    one = BalancedOrder(labels, seed=3)
    assert torch.equal(torch.cat([one(start, 6) for start in range(0, 60, 6)]), whole)
    assert not torch.equal(BalancedOrder(labels, seed=4)(0, 60), whole)


def test_a_balanced_order_shows_every_class_equally_often():
    labels = torch.tensor([0] * 90 + [1] * 7 + [2] * 3)
    order = BalancedOrder(labels, seed=0)
    for epoch in range(3):
        counts = torch.bincount(labels[order(epoch * 100, 100)])
        assert counts.max() - counts.min() <= 1
    times = torch.bincount(order(0, 100), minlength=100)
    for label in range(3):  # within a class every image
        of_class = times[labels == label]
        assert of_class.max() - of_class.min() <= 1
    assert order(0, 100).tolist() != order(100, 100).tolist()


def test_generators_of_different_keys_differ():
    draws = {float(torch.rand((), generator=seeded(*key))) for key in [(0, "a"), (0, "b"), (1, "a"), (0, "a", 1)]}
    assert len(draws) == 4
    assert torch.equal(torch.rand(3, generator=seeded(0, "a")), torch.rand(3, generator=seeded(0, "a")))


def test_readable_names_what_can_be_read(folder):
    (folder / "sad" / "2.png").write_bytes(b"broken")
    source = image_folder(folder)
    with pytest.raises(DataError, match=r"sad/2.png: cannot be read as an image .*; 1 such in all"):
        readable(source)
    assert readable(source, skip_bad=True).tolist() == [i for i in range(18) if i != 14]


def test_a_stamp_changes_with_the_files_alone(folder, monkeypatch):
    before = stamp(image_folder(folder))
    monkeypatch.chdir(folder.parent)
    assert stamp(image_folder(folder.name)) == before
    os.utime(folder / "sad" / "2.png", (1, 1))
    assert stamp(image_folder(folder)) != before
