"""Labelled images in memory, and parts of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from semantic_aug._random import seeded
from semantic_aug.data.dataset import ImageSet, cut_to_imbalance, hold_out, load_data, load_folder
from tests.conftest import CLASSES


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


@given(st.permutations([0] * 9 + [1] * 5 + [2] * 7 + [3]), st.floats(1, 50))
def test_a_long_tail_is_that_of_a_search_for_each_class(labels, ratio):
    """Tails were once cut by looking through all labels for each class; the same seeds keep the same images."""
    labels = torch.tensor(labels)
    data = ImageSet(torch.zeros(22, 1, 1, 1, dtype=torch.uint8), labels, list("abcd"), list(range(22)))
    order, kept = torch.randperm(22, generator=seeded(3, "imbalance")), []
    for label in range(4):
        kept += order[labels[order] == label][: max(round(9 * ratio ** (-label / 3)), 1)].tolist()
    assert cut_to_imbalance(data, ratio, seed=3).files == sorted(kept)


def test_sets_can_be_compared_and_parts_keep_the_name():
    data = replace(labelled([3, 3]), name="faces", skipped=2)
    assert data == data
    assert data != replace(data)
    assert (data.subset([0]).name, data.subset([0]).skipped) == ("faces", 0)


@pytest.mark.parametrize("ratio", [0.99, 0, -1, float("nan")])
def test_a_ratio_below_1_is_refused(ratio):
    with pytest.raises(ValueError, match="at least 1"):
        cut_to_imbalance(labelled([3, 3]), ratio, seed=0)


def test_generators_of_different_keys_differ():
    draws = {float(torch.rand((), generator=seeded(*key))) for key in [(0, "a"), (0, "b"), (1, "a"), (0, "a", 1)]}
    assert len(draws) == 4
    assert torch.equal(torch.rand(3, generator=seeded(0, "a")), torch.rand(3, generator=seeded(0, "a")))
