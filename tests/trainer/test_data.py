import pytest
import torch
from PIL import Image

from semantic_aug.trainer.data import DataError, EndlessOrder, hold_out, load_folder, scan_folder, seeded
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


def test_folders_without_images_are_refused(tmp_path, folder):
    with pytest.raises(DataError, match="no such folder"):
        scan_folder(tmp_path / "nowhere")
    (tmp_path / "flat").mkdir()
    with pytest.raises(DataError, match="no sub-folders; expected one per class"):
        scan_folder(tmp_path / "flat")
    (folder / "fear").mkdir()
    with pytest.raises(DataError, match="fear: no images in this class folder"):
        scan_folder(folder)


@pytest.mark.parametrize("damage", ["text", "truncated", "empty"])
def test_an_unreadable_image_is_named_and_counted(folder, damage):
    good = (folder / "happy" / "0.png").read_bytes()
    content = {"text": b"not an image", "truncated": good[: len(good) // 2], "empty": b""}[damage]
    for name in ("bad.png", "worse.png"):
        (folder / "happy" / name).write_bytes(content)
    with pytest.raises(DataError, match=r"happy/bad\.png: cannot be read.*2 such in all"):
        load_folder(folder, 1, 32)
    data = load_folder(folder, 1, 32, skip_bad=True)
    assert (len(data), data.skipped) == (18, 2)


def test_a_class_of_unreadable_images_is_refused(folder):
    for path in (folder / "sad").iterdir():
        path.write_bytes(b"x")
    with pytest.raises(DataError, match="sad: none of its images can be read"):
        load_folder(folder, 1, 32, skip_bad=True)


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


def test_generators_of_different_keys_differ():
    draws = {float(torch.rand((), generator=seeded(*key))) for key in [(0, "a"), (0, "b"), (1, "a"), (0, "a", 1)]}
    assert len(draws) == 4
    assert torch.equal(torch.rand(3, generator=seeded(0, "a")), torch.rand(3, generator=seeded(0, "a")))
