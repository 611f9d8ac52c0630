import json

import numpy as np
import pytest
import torch

from benchmarks.classification import duplicates
from benchmarks.classification.duplicates import likeness, without_duplicates
from semantic_aug.data.dataset import load_folder
from tests.conftest import write_folder


def faces(n, seed):
    return torch.randint(0, 256, (n, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_likeness_is_the_largest_correlation_of_pooled_pixels():
    images, others = faces(5, 1), faces(7, 2)

    def pooled(image):
        return image.numpy().astype(np.float64).reshape(8, 2, 8, 2).mean(axis=(1, 3)).ravel()

    expected = [
        max(np.corrcoef(pooled(a), pooled(b))[0, 1] for b in others[:, 0] for a in (image, image.flip(-1)))
        for image in images[:, 0]
    ]
    np.testing.assert_allclose(likeness(images, others), expected, atol=1e-5)


def test_a_picture_is_known_again_mirrored_dimmed_and_marked_but_another_is_not():
    known = faces(300, 3)  # more than a block
    mirrored, dimmed, marked = known[0].flip(-1), known[1] // 2 + 10, known[2].clone()
    marked[:, 5:8, :8] = 255
    found = likeness(torch.stack([mirrored, dimmed, marked, faces(1, 4)[0], known[299]]), known)
    assert (found >= duplicates.THRESHOLD).tolist() == [True, True, False, False, True]
    assert found[2] > found[3]
    flat = torch.zeros(1, 1, 16, 16, dtype=torch.uint8)
    assert likeness(flat, known).item() == 0  # no picture, so like none


def test_what_is_left_out(tmp_path):
    train = load_folder(write_folder(tmp_path / "train", 6, seed=1), 1, 32)
    held_out = [load_folder(write_folder(tmp_path / str(seed), 2, seed=seed), 1, 32) for seed in (2, 3)]
    assert without_duplicates(train, held_out).files == train.files
    held_out[1].images[0] = train.images[4].flip(-1)
    assert without_duplicates(train, held_out).files == train.files[:4] + train.files[5:]


def test_the_program_counts(tmp_path, capsys):
    train = write_folder(tmp_path / "train", 4, seed=1)
    test = write_folder(tmp_path / "test", 2, seed=2)
    (test / "happy" / "copy.png").write_bytes((train / "happy" / "3.png").read_bytes())
    words = ["tiny", "--train", str(train), "--held-out", str(test), "--size", "32", "--json", str(tmp_path / "f.json")]
    assert duplicates.main(words) == 0
    assert "1 of 12 training images are near-duplicates (0.92)" in capsys.readouterr().out
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures["held_out"]["test"]["0.999"] == figures["removed"] == 1
    assert figures["held_out"]["test"]["images"] == 7
    assert duplicates.main(["tiny", "--train", str(tmp_path / "no"), "--held-out", str(test)]) == 2
    assert "no" in capsys.readouterr().err


@pytest.mark.parametrize("size", [17, 32])
def test_an_odd_edge_does_not_matter(size):
    images = torch.randint(0, 256, (3, 1, size, size), dtype=torch.uint8)
    torch.testing.assert_close(likeness(images, images), torch.ones(3))
