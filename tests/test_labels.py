import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semantic_aug.labels import default_labels, folder_name, indices_by_class, label_table, same_names

IMAGE, LABELS, OTHER = torch.rand(2, 1, 4, 4), torch.tensor([0, 1]), torch.tensor([5, 6])


@pytest.mark.parametrize("key", ["labels", "LABELS", "LaBeL", "label", "my_labels_", "target_label"])
@pytest.mark.parametrize("where", ["mapping", "second of a tuple"])
def test_keys(key, where):
    mapping = {"image": IMAGE, "other": OTHER, key: LABELS}
    assert default_labels(mapping if where == "mapping" else (IMAGE, mapping)) is LABELS


def test_labels_comes_before_other_keys():
    assert default_labels({"label_names": OTHER, "Labels": LABELS}) is LABELS


@pytest.mark.parametrize("sample", [(IMAGE, LABELS), [IMAGE, LABELS], (IMAGE, LABELS, OTHER)])
def test_the_second_element(sample):
    assert default_labels(sample) is LABELS


@pytest.mark.parametrize("label", [3, np.int64(3), np.uint8(3)])
def test_a_plain_integer(label):
    assert default_labels((IMAGE, label)) == 3
    assert default_labels({"image": IMAGE, "label": label}) == 3


@pytest.mark.parametrize(
    "sample",
    [IMAGE, (IMAGE,), (IMAGE, "path"), (IMAGE, None), (IMAGE, True), (IMAGE, {}), {"image": IMAGE}, {1: LABELS}],
)
def test_none_where_there_are_none(sample):
    assert default_labels(sample) is None


def test_label_table():
    assert label_table(["B", "a"], ["A", "b", "c"]).tolist() == [1, 0]
    with pytest.raises(ValueError, match=r"unknown classes \['d'\]: got \['a', 'd'\], known are \['A', 'b'\]"):
        label_table(["a", "d"], ["A", "b"])


def test_names_that_differ_in_case_alone():
    known = ["A", "B", "a", "b"]
    assert label_table(["b", "A", "a"], known).tolist() == [3, 0, 2]
    assert not same_names(known, ["A", "B"])
    message = r"ambiguous classes \['C'\]: got \['C', 'b'\], known are \['c', 'ç', 'C_', 'c'"
    with pytest.raises(ValueError, match=message):
        label_table(["C", "b"], ["c", "ç", "C_", "c", "b"])


def test_composed_and_decomposed_letters_are_the_same():
    assert label_table(["glu\u0308cklich"], ["traurig", "gl\u00fccklich"]).tolist() == [1]


def test_a_class_is_known_by_what_its_folder_is_called():
    names = ["T-shirt/top", ".hidden", "a\\b", "plain.name"]
    assert [folder_name(name) for name in names] == ["T-shirt_top", "_hidden", "a_b", "plain.name"]
    assert label_table([folder_name(name).upper() for name in names], names).tolist() == [0, 1, 2, 3]


@given(st.lists(st.integers(0, 6), max_size=40), st.integers(0, 9))
def test_indices_by_class_are_those_that_a_search_for_each_class_finds(labels, classes):
    labels = torch.tensor(labels, dtype=torch.int64)
    found = indices_by_class(labels, classes)
    assert len(found) == max([classes, *(labels + 1).tolist()])
    for label, indices in enumerate(found):
        assert torch.equal(indices, (labels == label).nonzero().flatten())
