"""Samples whose images would go unnoticed, and dictionaries of lists."""

from collections import OrderedDict, UserDict
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
import PIL.Image
import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from semantic_aug import LatentCache, SemanticAugment, SemanticAugmentBatch
from semantic_aug.transform import TOGETHER
from tests.conftest import CLASSES, build_artifact

ARTIFACT = build_artifact()
ARRAY = np.full((32, 32, 3), 128, dtype=np.uint8)  # as OpenCV and albumentations have it
PICTURE = PIL.Image.fromarray(ARRAY)


def transform(p=1.0, **options):
    return SemanticAugment(p, 0.5, checkpoint=ARTIFACT, classes=CLASSES, **options)


@dataclass
class Sample:
    image: object
    label: int = 1


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (ARRAY, r"only a ndarray of shape \(32, 32, 3\); convert it with .*to_image"),
        ((ARRAY[..., 0], 1), r"only a ndarray of shape \(32, 32\)"),
        ({"image": ARRAY.astype(np.float32), "label": 1}, "only a ndarray"),
        (torch.rand(32, 32), r"only a Tensor of shape \(32, 32\); pass images as \(C, H, W\), with image\.unsqueeze"),
        (
            (torch.zeros(1, 32, 32, dtype=torch.int16), 1),
            r"only a Tensor .*; expected an image of dtype uint8 or floating point, got torch\.int16",
        ),
        (("faces/train/happy/1.JPG", 1), r"only a str; open the file first, with PIL\.Image\.open"),
        ({"image": Path("1.png"), "label": 1}, "only a PosixPath; open the file first"),
        (UserDict(image=PICTURE, label=1), r"only a UserDict; pass dict\(sample\)"),
        ([UserDict(image=ARRAY)], r"only a UserDict; pass dict\(sample\)"),
        (Sample(PICTURE), r"only a Sample; pass its image and label, or vars\(sample\)"),
        ((None, 1), "only a NoneType; an image was expected in its place"),
    ],
)
@pytest.mark.parametrize("kind", [SemanticAugment, SemanticAugmentBatch])
def test_an_image_that_would_go_unnoticed_is_refused_with_the_way_out(kind, sample, message):
    with pytest.raises(TypeError, match=f"found no image in the sample, {message}"):
        kind(0.0, checkpoint=ARTIFACT, classes=CLASSES)(sample)


def test_the_ways_out_work():
    for image in (F.to_image(ARRAY), F.to_image(ARRAY[..., 0]), torch.rand(32, 32).unsqueeze(0)):
        assert not torch.equal(transform()(image, 1)[0], image)
    assert transform()(dict(UserDict(image=PICTURE, label=1)))["image"] is not PICTURE
    assert transform()(vars(Sample(PICTURE)))["image"] is not PICTURE


def test_what_is_no_image_still_comes_back():
    for sample in (
        Sample("text"),
        UserDict(a=1),
        {"text": "a", "vector": np.zeros(3)},
        (torch.rand(4), 1),
        "a.txt",
        (),
    ):
        assert transform()(sample) is sample or transform()(sample) == sample


def test_a_cache_of_what_is_no_image_is_refused(tmp_path):
    with pytest.raises(TypeError, match="found no image in the sample, only a ndarray"):
        LatentCache.build(tmp_path / "latents", ARTIFACT, [(ARRAY, 0)] * 4)


def test_albumentations(folder):
    albumentations = pytest.importorskip("albumentations")
    image = albumentations.HorizontalFlip(p=1.0)(image=np.ascontiguousarray(ARRAY))["image"]
    with pytest.raises(TypeError, match="found no image in the sample, only a ndarray"):
        transform()(image, 1)
    assert transform()(F.to_image(image), 1)[0].shape == (3, 32, 32)


# --- Dictionaries of lists ------------------------------------------------------------------------------------------


def faces(n, **columns):
    features = {"image": datasets.Image()} | {name: datasets.ClassLabel(names=CLASSES) for name in columns}
    rows = {"image": [PICTURE.convert("L")] * n} | columns
    return datasets.Dataset.from_dict(rows, features=datasets.Features(features))


def test_rows_of_a_hugging_face_data_set_have_a_draw_and_a_label_each():
    data = faces(32, label=[0, 1, 2, 0] * 8).with_transform(transform())
    batch = data[:32]
    assert batch["label"] == [0, 1, 2, 0] * 8
    assert len({image.tobytes() for image in batch["image"]}) == 32
    assert data[3]["image"].tobytes() != PICTURE.convert("L").tobytes()
    unlabelled = faces(8).with_transform(transform(0.5))[:8]["image"]
    assert len({image.tobytes() for image in unlabelled}) > 2


def test_each_row_has_its_own_class():
    strength = {"angry": 0.0, "happy": 1.0, "sad": 0.0}
    augment = SemanticAugment(1.0, strength, checkpoint=ARTIFACT, classes=CLASSES, mode="detail")
    sample = OrderedDict(image=[torch.full((1, 32, 32), 0.5)] * 3, label=[0, 1, 2], id=["a", "b", "c"])
    out = augment(sample)
    assert type(out) is OrderedDict
    assert list(out) == list(sample)
    assert out["id"] == sample["id"]
    moved = [float((a - b).abs().max()) > 1e-3 for a, b in zip(out["image"], sample["image"], strict=True)]
    assert moved == [False, True, False]


@pytest.mark.parametrize("perturbation", ["covariance", "interpolate"])
def test_rows_computed_together_are_those_computed_one_by_one(perturbation):
    augment = transform(0.7, perturbation=perturbation)
    pictures = [torch.rand(3, 20, 24), F.to_image(PICTURE), PICTURE, PICTURE.convert("L"), torch.rand(2, 3, 20, 24)]
    pictures += [tv_tensors.Video(torch.rand(2, 3, 20, 24)), torch.rand(3, 20, 24).double()]
    labels = [0, 1, 2, 0, [1, 2], 1, 2]
    sample = {"image": pictures * 4, "label": labels * 4}
    torch.manual_seed(5)
    together = augment(sample)["image"]
    torch.manual_seed(5)
    alone = [augment({"image": image, "label": label})["image"] for image, label in zip(*sample.values(), strict=True)]
    for image, one, other in zip(sample["image"], together, alone, strict=True):
        assert type(one) is type(other)
        assert (one is image) == (other is image)
        one, other = (F.pil_to_tensor(x) if isinstance(x, PIL.Image.Image) else x for x in (one, other))
        assert one.dtype == other.dtype
        assert (one.double() - other.double()).abs().max() <= (1 if one.dtype == torch.uint8 else 1e-5)


@pytest.mark.parametrize(("rows", "passes"), [(24, 1), (TOGETHER + 1, 2)])
def test_rows_of_one_shape_pass_the_networks_together(rows, passes):
    augment, sizes = transform(domain_check=False), []
    hook = augment.artifact.encoder.register_forward_hook(lambda _, images, out: sizes.append(len(images[0])))
    faces(rows, label=[0] * rows).with_transform(augment)[:rows]
    hook.remove()
    assert sum(sizes) == rows
    assert len(sizes) == passes


def test_several_images_of_one_sample_still_share_a_draw():
    image = F.to_image(PICTURE)
    out = transform()({"views": [image, image.clone()], "label": 1})
    assert torch.equal(*out["views"])
    assert not torch.equal(out["views"][0], image)


def test_a_batched_map_of_hugging_face_is_told_to_pass_a_dictionary():
    with pytest.raises(TypeError, match=r"only a LazyBatch; pass dict\(sample\)"):
        faces(4, label=[0, 1, 2, 0]).map(transform(), batched=True)


def test_a_dictionary_of_lists_is_no_batch():
    with pytest.raises(ValueError, match=r"expected one batch of images .*; for single images use SemanticAugment"):
        SemanticAugmentBatch(checkpoint=ARTIFACT)({"image": [PICTURE] * 4, "label": [0, 1, 2, 0]})
