"""Labels and class names of the data sets that people have: torchvision's, timm's and Hugging Face's."""

import warnings

import datasets
import pytest
import torch
from PIL import Image
from timm.data import create_dataset
from torch.utils.data import ConcatDataset, DataLoader, Subset, TensorDataset, default_collate
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from semantic_aug import ClassBalancedSampler, SemanticAugmentBatch, SemanticLoader
from semantic_aug._datasets import FER2013, dataset_classes, dataset_labels
from tests.conftest import CLASSES, build_artifact, write_folder
from tests.data.conftest import fer2013_table

ARTIFACT = build_artifact()
TO_TENSOR = v2.Compose([v2.ToImage(), v2.Grayscale(), v2.ToDtype(torch.float32, scale=True)])
BACKWARDS = {0: 2, 1: 1, 2: 0}.__getitem__


def used_labels(data, collate=default_collate):
    """The artifact's labels that a SemanticLoader uses for a data set, in its order."""
    loader = SemanticLoader(
        DataLoader(data, batch_size=100, collate_fn=collate), SemanticAugmentBatch(checkpoint=ARTIFACT)
    )
    return loader.augment.draw(next(iter(loader.loader)))["labels"].tolist()


def test_target_transform_is_applied_to_labels_and_names(folder):
    data = ImageFolder(str(folder), TO_TENSOR, target_transform=BACKWARDS)
    assert dataset_classes(data) == CLASSES[::-1]
    assert dataset_labels(data).tolist() == [2] * 6 + [1] * 6 + [0] * 6 == [label for _, label in data]
    assert dataset_labels(Subset(data, [17, 0])).tolist() == [0, 2]
    assert used_labels(data) == [0] * 6 + [1] * 6 + [2] * 6  # the artifact's, as the folders say


def test_a_target_transform_that_merges_classes_balances_what_is_served(folder):
    data = ImageFolder(str(folder), target_transform=lambda label: int(label > 0))
    assert dataset_classes(data) == ["angry", "happy + sad"]
    drawn = dataset_labels(data)[list(ClassBalancedSampler(dataset_labels(data)))]
    assert drawn.bincount().tolist() == [9, 9]


@pytest.mark.parametrize(
    ("transform", "error", "message"),
    [
        (
            lambda label: label + 1,
            ValueError,
            r"target_transform makes the labels \[1, 2, 3\] of .*, expected 0\.\.2; pass",
        ),
        (lambda label: torch.eye(3)[label], TypeError, r"target_transform must turn a label into a class index, got"),
        (CLASSES.__getitem__, TypeError, "got 'angry'"),
    ],
)
def test_a_target_transform_that_gives_no_class_indices_is_refused(folder, transform, error, message):
    with pytest.raises(error, match=message):
        dataset_classes(ImageFolder(str(folder), target_transform=transform))


def test_parts_that_number_their_classes_differently_are_refused(folder, tmp_path):
    first = ImageFolder(str(folder), TO_TENSOR)
    other = ImageFolder(str(write_folder(tmp_path / "other", 2, classes=["happy", "sad"])), TO_TENSOR)
    both = ConcatDataset([first, Subset(other, [0, 3])])
    for use in (dataset_labels, used_labels):
        with pytest.raises(
            ValueError, match=r"number their classes differently, \['angry', .* and \['happy', 'sad'\]; ren"
        ):
            use(both)
    other = ImageFolder(str(folder), TO_TENSOR, target_transform=BACKWARDS)
    backwards = ImageFolder(str(folder), TO_TENSOR, target_transform=BACKWARDS)
    assert used_labels(ConcatDataset([other, backwards])) == [0] * 6 + [1] * 6 + [2] * 6 + [0] * 6 + [1] * 6 + [2] * 6


def hugging_face(names, labels):
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
    images = [Image.new("L", (32, 32), 40 * label) for label in labels]
    return datasets.Dataset.from_dict({"image": images, "label": labels}, features=features)


def test_the_names_of_a_hugging_face_class_label_are_read():
    data = hugging_face(CLASSES[::-1], [0, 0, 1, 2])
    served = data.with_transform(lambda rows: {"image": [TO_TENSOR(x) for x in rows["image"]], "label": rows["label"]})
    assert dataset_classes(served) == CLASSES[::-1]
    assert dataset_labels(served).tolist() == [0, 0, 1, 2]
    assert used_labels(served) == [2, 2, 1, 0]
    several = datasets.Features({name: datasets.ClassLabel(names=CLASSES) for name in ("fine", "coarse")})
    with pytest.raises(ValueError, match="expected one column of labels, got fine, coarse; pass classes="):
        dataset_classes(datasets.Dataset.from_dict({"fine": [0], "coarse": [1]}, features=several))


def test_the_names_of_timms_folders_are_read(folder):
    assert dataset_classes(create_dataset("", root=str(folder))) == CLASSES


def test_torchvisions_fer2013_is_in_the_published_order(tmp_path, monkeypatch):
    from torchvision.datasets import FER2013 as Published

    fer2013_table(tmp_path / "fer2013" / "fer2013.csv")
    monkeypatch.setattr(Published, "_RESOURCES", {key: (name, None) for key, (name, _) in Published._RESOURCES.items()})
    data = Published(str(tmp_path), transform=TO_TENSOR)
    assert dataset_classes(data) == list(FER2013)
    artifact = build_artifact(classes=sorted(FER2013))
    loader = SemanticLoader(DataLoader(data, 7), SemanticAugmentBatch(checkpoint=artifact))
    images, labels = next(iter(loader.loader))
    found = loader.augment.draw((images, labels))["labels"].tolist()
    assert [artifact.classes[label] for label in found] == [FER2013[label] for label in labels]


def test_labels_without_names_go_by_position_which_is_said_once():
    images, labels = torch.rand(3, 1, 32, 32), torch.tensor([0, 1, 2])
    augment = SemanticAugmentBatch(checkpoint=ARTIFACT)
    message = (
        r"no class names are known, .* the checkpoint's \(0 angry, 1 happy, 2 sad\); pass classes=dataset\.classes"
    )
    with pytest.warns(UserWarning, match=message) as caught:
        for _ in SemanticLoader(DataLoader(TensorDataset(images, labels), 1), augment):
            pass
    assert len(caught) == 1
    for quiet in (augment, SemanticAugmentBatch(checkpoint=ARTIFACT, classes=CLASSES)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            quiet(images, labels)
        assert not caught
    SemanticAugmentBatch(checkpoint=ARTIFACT)(images, ["angry", "happy", "sad"])  # names are no positions
