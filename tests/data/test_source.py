"""The record that every source returns, and how classes get their names."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semantic_aug.data.source import DataError, Source, name_classes


def numbered(labels, classes):
    """A source whose image ``number`` has that value everywhere."""
    files = [Path(f"{number}.png") for number in range(len(labels))]

    def read(number, channels, size):
        return torch.full((channels or 1, size or 2, size or 2), number)

    return Source("numbers", classes, labels, files, read, files)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=20), st.sets(st.integers(0, 25)))
def test_without_leaves_out_those_images_alone(labels, numbers):
    source = numbered(labels, ["a", "b", "c"])
    rest = source.without(numbers)
    kept = [number for number in range(len(labels)) if number not in numbers]
    assert len(rest) == len(kept)
    assert rest.files == [source.files[number] for number in kept]
    assert [int(rest.read(number, 1, 1)) for number in range(len(rest))] == kept
    assert rest.labels == [labels[number] for number in kept]
    assert rest.counts() == [rest.labels.count(label) for label in range(3)]
    assert (rest.classes, rest.stamped) == (source.classes, source.stamped)


def test_classes_without_an_image_are_left_out():
    assert name_classes("x", [3, 1, 3], ["a", "b", "c", "d"]) == (["b", "d"], [1, 0, 1])
    assert name_classes("x", [3, 1, 3], None) == (["1", "3"], [1, 0, 1])
    assert name_classes("x", [0, 1], ["A", "a"]) == (["A (0)", "a (1)"], [0, 1])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "x: has no images"),
        ([0, -1], "no class index but -1"),
        ([0, None], "no class index but None"),
        ([0, 2], "has the label 2, but names only 2 classes"),
    ],
)
def test_labels_that_name_no_class_are_refused(labels, message):
    with pytest.raises(DataError, match=message):
        name_classes("x", labels, ["a", "b"])
