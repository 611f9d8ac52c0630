from dataclasses import replace

import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from semantic_aug.data.dataset import ImageSet
from semantic_aug.figures import drawing
from semantic_aug.figures.figures import (
    BALANCED,
    DEVIATIONS,
    DIRECTIONS,
    DRAWS,
    FIGURES,
    PAIRS,
    STRENGTHS,
    Bars,
)
from semantic_aug.functional import semantic_augment_image
from semantic_aug.images import bytes_to_model
from semantic_aug.model.runtime import LatentModel
from tests.conftest import CLASSES, build_artifact

LABELS = torch.tensor([2, 0, 2, 0, 2, 2])  # no image of class 1


def image_set(images, labels, name):
    return ImageSet(images, labels, CLASSES, [f"{number}.png" for number in range(len(images))], name=name)


@pytest.fixture
def sources():
    return image_set(torch.randint(0, 256, (6, 1, 32, 32), dtype=torch.uint8), LABELS, "validation")


@pytest.mark.parametrize(
    ("name", "columns", "rows"),
    [
        ("augmentations", 1 + DRAWS, 2),
        ("pairs", 2 * PAIRS, 2),
        ("balanced", BALANCED, 2),
        ("strengths", len(STRENGTHS), 2),
        ("directions", len(DEVIATIONS), 2 * DIRECTIONS),
        ("samples", 10, 3),
        ("overview", 7, 2),
    ],
)
def test_every_column_has_an_image_a_row_and_all_repeats(artifact, sources, name, columns, rows):
    figure = FIGURES[name](artifact, sources)
    assert (len(figure.columns), len(figure.rows)) == (columns, rows)
    for images in figure.columns.values():
        assert images.shape == (rows, 1, 32, 32)
        assert images.dtype == torch.uint8
    again = FIGURES[name](artifact, sources)
    assert all(torch.equal(images, again.columns[heading]) for heading, images in figure.columns.items())
    if name != "directions":
        other = FIGURES[name](artifact, sources, seed=1)
        assert any(not torch.equal(images, other.columns[heading]) for heading, images in figure.columns.items())
    cell = 96 + drawing.GAP
    assert figure.picture().size == (drawing.MARGIN + columns * cell, drawing.HEADER + rows * cell)
    assert len(figure.caption) > 40


def test_every_figure_is_tested():
    assert set(FIGURES) == {
        "counts",
        "augmentations",
        "pairs",
        "balanced",
        "strengths",
        "directions",
        "samples",
        "overview",
    }


def test_counts_are_of_the_data_or_where_the_checkpoint_drew_it_of_its_training(artifact, sources):
    found = FIGURES["counts"](artifact, sources)
    assert isinstance(found, Bars)
    assert list(found.values.items()) == [("sad", 4), ("angry", 2), ("happy", 0)]
    assert "in validation. The largest class has 2 times" in found.caption
    drawn = FIGURES["counts"](artifact, replace(sources, name=None))
    assert drawn.values == {"angry": 50, "happy": 50, "sad": 50}
    assert drawn.caption.endswith("The classes are balanced.")


def test_bars_are_as_long_as_their_numbers():
    values = {"a": 100, "b": 25, "c": 0}
    picture = drawing.bars(values)
    assert isinstance(picture, Image.Image)
    blue = Image.new("RGB", (1, 1), drawing.BAR_COLOUR).getpixel((0, 0))
    lengths = []
    for row in range(3):
        y = drawing.HEADER // 2 + row * drawing.BAR + 2
        lengths.append(sum(picture.getpixel((x, y)) == blue for x in range(picture.width)) - 1)
    assert lengths == [drawing.BAR_LENGTH, drawing.BAR_LENGTH // 4, 0]
    assert drawing.bars({"a": 0}).size[0] == picture.width


def test_per_class_takes_so_many_images(artifact, sources):
    figure = FIGURES["augmentations"](artifact, sources, per_class=2)
    assert figure.rows == ["angry", "angry", "sad", "sad"]
    assert torch.equal(figure.columns["source"], sources.images[[1, 3, 0, 2]])


def test_pairs_and_balanced_take_different_images_where_there_are_enough(artifact, sources):
    pairs = FIGURES["pairs"](artifact, sources)
    originals = torch.stack([pairs.columns[f"original\n{n}"] for n in range(1, PAIRS + 1)], dim=1)
    for row, of_class in enumerate(([1, 3], [0, 2, 4, 5])):
        members = sources.images[of_class]
        matches = (originals[row][:, None] == members).flatten(2).all(2)  # (PAIRS, members)
        assert matches.sum(1).tolist() == [1] * PAIRS, "an image of the class"
        assert (matches.sum(0) >= PAIRS // len(members)).all(), "none twice before all have been there"
    for n in range(1, PAIRS + 1):
        assert not torch.equal(pairs.columns[f"original\n{n}"], pairs.columns[f"augmented\n{n}"])


def test_strengths_move_an_image_along_one_line(artifact, sources):
    figure = FIGURES["strengths"](artifact, sources)
    assert torch.equal(figure.columns["0"], sources.images[[1, 0]]), "mode detail at 0 is the identity"
    noise = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    expected = semantic_augment_image(
        sources.images[[1, 0]], noise, LatentModel.of(artifact), LABELS[[1, 0]], strength=0.5, mode="detail"
    )
    assert torch.equal(figure.columns["0.5"], expected)


def test_directions_walk_from_an_image(artifact, sources):
    figure = FIGURES["directions"](artifact, sources)
    assert figure.rows == [f"{name} {number}" for name in ("angry", "sad") for number in (1, 2, 3)]
    starts = sources.images[[1, 0]].repeat_interleave(DIRECTIONS, 0)
    assert torch.equal(figure.columns["0"], starts), "mode detail with no step is the identity"
    variances, vectors = artifact.statistics.directions(2, artifact.recommended.shrinkage)
    image = sources.images[:1]
    mu = artifact.encode(bytes_to_model(image))
    moved = mu - 2 * (variances[2].sqrt() * vectors[:, 2]).float()
    before, after = (artifact.decode(latent) for latent in (mu, moved))
    expected = drawing.to_bytes(bytes_to_model(image) + after - before)[0]
    assert_close(figure.columns["-2"][figure.rows.index("sad 3")], expected, rtol=0, atol=1)


def test_one_class_of_one_image_and_rgb():
    artifact = build_artifact(channels=3, classes=["only"])
    sources = image_set(torch.zeros(1, 3, 32, 32, dtype=torch.uint8), torch.tensor([0]), "one")
    for name, draw in FIGURES.items():
        assert draw(artifact, sources, per_class=3).picture().height > drawing.HEADER, name
