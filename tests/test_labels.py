import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import LabelEncoder

from semantic_aug.labels import (
    as_class_indices,
    class_names,
    default_labels,
    folder_name,
    indices_by_class,
    label_column,
    label_table,
    same_names,
)

CLASSES = ["angry", "happy", "sad"]
IMAGE, LABELS, OTHER = torch.rand(2, 1, 4, 4), torch.tensor([0, 1]), torch.tensor([5, 6])


@pytest.mark.parametrize("key", ["labels", "LABELS", "LaBeL", "label", "my_labels_", "target_label"])
@pytest.mark.parametrize("where", ["mapping", "second of a tuple"])
def test_keys(key, where):
    mapping = {"image": IMAGE, "other": OTHER, key: LABELS}
    assert default_labels(mapping if where == "mapping" else (IMAGE, mapping)) is LABELS


@pytest.mark.parametrize("key", ["Labels", "label", "targets", "Target", "class", "cls"])
def test_exact_keys_come_before_those_that_contain_label(key):
    assert default_labels({"label_names": OTHER, "has_label": True, key: LABELS}) is LABELS
    with pytest.raises(ValueError, match="several keys could hold the labels: fine_label, coarse_label; pass"):
        default_labels({"fine_label": LABELS, "coarse_label": OTHER})


@pytest.mark.parametrize(
    "labels",
    [
        *[1, np.int64(1), np.float64(1), 1.0, np.array(1), np.array([1]), [1], (1,), torch.tensor([1.0])],
        *["Happy", ["happy"], np.array("happy"), pd.Series(["happy"]), pd.Series([1], index=[7])],
        *[torch.tensor([0, 1, 0]), np.array([0.1, 0.8, 0.1]), [0.0, 1.0, 0.0]],
    ],
    ids=repr,
)
def test_a_label_of_any_type_is_used(labels):
    assert default_labels((IMAGE, labels)) is labels
    assert as_class_indices(labels, (), CLASSES).tolist() == 1


@pytest.mark.parametrize(
    "labels",
    [
        *[[2, 0], (2, 0), np.array([2, 0], dtype=np.uint8), np.array([2.0, 0.0]), torch.tensor([2, 0]).to(torch.int8)],
        *[["sad", "angry"], np.array(["sad", "angry"]), pd.Series(["sad", "angry"], dtype="category")],
        *[torch.tensor([[0, 0, 1], [1, 0, 0]]), [[0.1, 0.0, 0.9], [0.5, 0.5, 0.0]]],
    ],
    ids=repr,
)
def test_labels_of_any_type_are_used(labels):
    found = as_class_indices(labels, (2,), CLASSES)
    assert found.dtype == torch.int64
    assert found.tolist() == [2, 0]


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (True, TypeError, "labels must be class indices or names, got bool True; pass labels_getter="),
        (torch.tensor(True), TypeError, r"got Tensor tensor\(True\)"),
        (object(), TypeError, "got object <object"),
        ([[0], [1, 2]], TypeError, "got list"),
        ("joy", ValueError, r"unknown classes \['joy'\]"),
        (1.5, ValueError, "class indices are integers"),
        ([1, 2], ValueError, r"expected one label for each image, of shape \(\), got labels of \(2,\)"),
        ([0.0, 1.0, 1.0], ValueError, "rows that sum to 1, got sums from 2 to 2; an image of several classes"),
        ([0.0, 0.0, 0.0], ValueError, "got sums from 0 to 0"),
        (torch.tensor([1, 1, 0]), ValueError, "got sums from 2 to 2"),
    ],
)
def test_what_cannot_be_labels_is_refused(labels, error, message):
    with pytest.raises(error, match=message):
        as_class_indices(labels, (), CLASSES)


def test_class_names_in_every_form():
    encoder = LabelEncoder().fit(["sad", "happy", "angry"])
    for value in (CLASSES, tuple(CLASSES), pd.Series(CLASSES, index=[5, 6, 7]), pd.Index(CLASSES), encoder.classes_):
        assert class_names(value) == CLASSES
    assert class_names({"sad": 2, "angry": 0, "happy": 1}) == CLASSES
    assert class_names([("crane", "bird"), "b"]) == ["crane, bird", "b"]
    for value in ({"a": 1, "b": 2}, "sad", 7, [1, 2], np.array([1, 2])):
        with pytest.raises(ValueError, match="classes must be the names of your classes in label order, got"):
            class_names(value)


def test_a_column_of_labels_in_every_form():
    for labels in ([1, 0, 2], np.array([1.0, 0.0, 2.0]), pd.Series([1, 0, 2], index=[2, 1, 0]), ["b", "a", "c"]):
        assert label_column(labels).tolist() == [1, 0, 2]


@pytest.mark.parametrize("sample", [(IMAGE, LABELS), [IMAGE, LABELS], (IMAGE, LABELS, OTHER)])
def test_the_second_element(sample):
    assert default_labels(sample) is LABELS


@pytest.mark.parametrize("label", [3, np.int64(3), np.uint8(3)])
def test_a_plain_integer(label):
    assert default_labels((IMAGE, label)) == 3
    assert default_labels({"image": IMAGE, "label": label}) == 3


@pytest.mark.parametrize(
    "sample",
    [IMAGE, (IMAGE,), (IMAGE, IMAGE), (IMAGE, [IMAGE]), (IMAGE, None), (IMAGE, {}), {"image": IMAGE}, {1: LABELS}],
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
