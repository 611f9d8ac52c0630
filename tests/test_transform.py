import copy
import pickle
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close
from torch.utils.data import DataLoader, TensorDataset
from torchvision import tv_tensors
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from semantic_aug import Artifact, SemanticAugment
from semantic_aug.functional import semantic_augment_image
from semantic_aug.model.recommended import Recommended
from semantic_aug.model.runtime import LatentModel
from tests.conftest import CLASSES, build_artifact
from tests.forks import SERVER

ARTIFACT = build_artifact()


def transform(p=1.0, strength=0.5, **options):
    return SemanticAugment(p, strength, **({"checkpoint": ARTIFACT} | options))


def grey(*shape):
    return torch.rand(*shape, 1, 32, 32)


# --- What comes back --------------------------------------------------------------------------------------------

IMAGES = {
    "float tensor": lambda: torch.rand(3, 17, 11),
    "uint8 tensor": lambda: torch.randint(0, 256, (1, 32, 32), dtype=torch.uint8),
    "batch": lambda: torch.rand(4, 1, 20, 20),
    "non-contiguous": lambda: torch.rand(20, 24, 3).permute(2, 0, 1),
    "Image": lambda: tv_tensors.Image(torch.rand(3, 64, 64)),
    "Video": lambda: tv_tensors.Video(torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8)),
    "PIL L": lambda: PIL.Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)),
    "PIL RGB": lambda: PIL.Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)),
}


def as_tensor(image):
    return v2.functional.pil_to_tensor(image) if isinstance(image, PIL.Image.Image) else image.as_subclass(torch.Tensor)


@pytest.mark.parametrize("kind", IMAGES)
@pytest.mark.parametrize("mode", ["decode", "detail"])
def test_the_same_kind_comes_back_changed(kind, mode):
    image = IMAGES[kind]()
    before = as_tensor(image).clone()
    out = transform(mode=mode)(image)
    assert type(out) is type(image)
    a, b = as_tensor(image), as_tensor(out)
    assert torch.equal(a, before)
    assert (a.shape, a.dtype, a.device) == (b.shape, b.dtype, b.device)
    assert not torch.equal(a, b)
    assert not b.requires_grad


@pytest.mark.parametrize("kind", IMAGES)
def test_p_0_gives_the_same_object(kind):
    image = IMAGES[kind]()
    assert transform(p=0.0)(image) is image


@pytest.mark.parametrize("pack", [dict, list, tuple])
def test_everything_else_comes_back_by_identity(pack):
    sample = {
        "image": tv_tensors.Image(torch.rand(3, 20, 20)),
        "pil": IMAGES["PIL L"](),
        "extra": torch.rand(3, 20, 20),
        "label": 1,
        "float": 0.5,
        "none": None,
        "text": "a",
        "path": Path("x"),
        "object": object(),
        "array": np.zeros(3),
        "nested": {"deep": [torch.arange(3)]},
    }
    packed = sample if pack is dict else pack(sample.values())
    augment = transform(labels_getter=None)
    out = augment(packed)
    assert type(out) is pack
    values = out.values() if pack is dict else out
    for (name, old), new in zip(sample.items(), values, strict=True):
        if name in ("image", "pil"):
            assert new is not old
        elif name == "nested":
            assert new["deep"][0] is old["deep"][0]
        else:
            assert new is old


def test_a_sample_without_an_image_comes_back():
    sample = {"label": 3, "vector": torch.rand(4)}
    assert transform()(sample) is sample


def test_the_plain_tensor_that_can_be_an_image_is_found():
    sample = {"label": torch.tensor(1), "mask": torch.zeros(20, 20), "image": torch.rand(1, 20, 20)}
    out = transform()(sample)
    assert out["mask"] is sample["mask"]
    assert out["image"] is not sample["image"]
    with pytest.raises(ValueError, match="2 plain tensors could be the image"):
        transform()(torch.rand(1, 8, 8), torch.rand(1, 8, 8))


def test_boxes_masks_and_keypoints_are_refused():
    image = torch.rand(3, 20, 20)
    boxes = tv_tensors.BoundingBoxes([[0, 0, 5, 5]], format="XYXY", canvas_size=(20, 20))
    geometric = [boxes, tv_tensors.Mask(torch.zeros(20, 20))]
    if hasattr(tv_tensors, "KeyPoints"):
        geometric.append(tv_tensors.KeyPoints([[1, 2]], canvas_size=(20, 20)))
    for leaf in geometric:
        with pytest.raises(TypeError, match="another pose or identity"):
            transform()(image, leaf)


# --- Randomness ---------------------------------------------------------------------------------------------------


def test_every_image_of_a_batch_has_its_own_coin_and_draw():
    images = grey().expand(200, -1, -1, -1)
    out = transform(p=0.5)(images)
    changed = (out != images).flatten(1).any(1)
    assert 60 < changed.sum() < 140
    assert torch.equal(out[~changed], images[~changed])
    assert len(out[changed].flatten(1).unique(dim=0)) == changed.sum()


def test_frames_of_a_video_and_images_of_one_sample_share_a_draw():
    frame = grey()
    video = transform()(tv_tensors.Video(frame.expand(4, -1, -1, -1)))
    assert_close(video[0], video[3])
    first, second = transform()([tv_tensors.Image(frame), tv_tensors.Image(frame)])
    assert torch.equal(first, second)
    videos = transform()(tv_tensors.Video(frame.expand(2, 4, -1, -1, -1)))
    assert_close(videos[0, 0], videos[0, 3])
    assert not torch.equal(videos[0, 0], videos[1, 0])


def test_different_batch_shapes_in_one_sample_are_refused():
    with pytest.raises(ValueError, match="different batch shapes"):
        transform()([tv_tensors.Image(grey()), tv_tensors.Image(grey(2))])


def test_the_result_is_the_functional_of_what_was_drawn():
    image = grey(3)
    augment = transform()
    torch.manual_seed(7)
    out = augment(image, torch.tensor([0, 2, 1]))[0]
    torch.manual_seed(7)
    params = augment.make_params([image])
    expected = semantic_augment_image(
        image, params["noise"], LatentModel.of(ARTIFACT), torch.tensor([0, 2, 1]), strength=0.5
    )
    assert_close(out, expected)


@settings(max_examples=25)
@given(order=st.permutations(range(5)), p=st.floats(0, 1))
def test_permuting_images_labels_and_draws_permutes_the_result(order, p):
    images, labels = grey(5), torch.tensor([0, 1, 2, 0, 1])
    augment = transform(p=p)
    params = augment.make_params([images]) | {"labels": labels}
    out = augment.transform(images, params)
    permuted = augment.transform(images[order], {name: value[order] for name, value in params.items()})
    assert_close(permuted, out[order], rtol=0, atol=1e-4)


def test_seeds_repeat_and_the_generator_is_the_only_source():
    image = grey(4)
    torch.manual_seed(3)
    a = transform()(image)
    torch.manual_seed(3)
    assert torch.equal(a, transform()(image))
    c = transform(generator=torch.Generator().manual_seed(1))(image)
    before = torch.get_rng_state()
    assert torch.equal(c, transform(generator=torch.Generator().manual_seed(1))(image))
    assert torch.equal(before, torch.get_rng_state())


# --- Labels -------------------------------------------------------------------------------------------------------


def test_a_label_selects_the_covariance_of_its_class():
    image = grey()
    augment = transform()
    outs = []
    for label in (0, 1, torch.tensor(1), None):
        torch.manual_seed(1)
        outs.append(augment(image) if label is None else augment(image, label)[0])
    assert torch.equal(outs[1], outs[2])
    for other in (outs[0], outs[3]):
        assert not torch.equal(outs[1], other)


def test_classes_map_labels_by_name():
    image = grey()
    torch.manual_seed(1)
    expected = transform()(image, 0)[0]  # "angry"
    torch.manual_seed(1)
    assert torch.equal(transform(classes=["Sad", "Angry"])(image, 1)[0], expected)
    with pytest.raises(ValueError, match=r"unknown classes \['joy'\].*'angry', 'happy', 'sad'"):
        transform(classes=["joy", "sad"])(image, 0)
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.1, got 2\.\.2; classes= has \['sad', 'angry'\]"):
        transform(classes=["sad", "angry"])(image, 2)


@pytest.mark.parametrize("label", [-1, 3, torch.tensor(3)])
def test_labels_that_the_artifact_does_not_know_are_refused(label):
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.2.*classes=dataset\.classes"):
        transform()(grey(), label)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (
            torch.tensor([0, 1, 2]),
            ValueError,
            r"expected one label for each image, of shape \(2,\), got labels of \(3,\)",
        ),
        (torch.rand(2, 4), ValueError, r"soft labels must have shape \(2, 3\), got \(2, 4\)"),
        (torch.tensor([0.5, 1.0]), ValueError, "soft labels must have shape"),
    ],
)
def test_labels_of_a_wrong_shape_are_refused(labels, error, message):
    with pytest.raises(error, match=message):
        transform()(grey(2), labels)


def test_a_labels_getter_must_give_labels():
    with pytest.raises(TypeError, match="labels must be class indices or names, got dict"):
        transform(labels_getter=lambda sample: {})(grey())


@pytest.mark.parametrize("form", ["sequence", "mapping", "mapping without case"])
def test_p_and_strength_per_class(form):
    p, strength = [0.0, 1.0, 1.0], [1.0, 0.0, 1.0]
    if form != "sequence":
        names = [name.upper() for name in CLASSES] if "case" in form else CLASSES
        p, strength = dict(zip(names, p, strict=True)), dict(zip(names, strength, strict=True))
    augment = transform(p, strength)
    images = grey().expand(30, -1, -1, -1)
    for label, changes in ((0, False), (1, False), (2, True)):
        out, _ = augment(images, torch.full((30,), label))
        difference = (out - images).abs().flatten(1).amax(1)
        assert ((difference > 1e-3) == changes).all(), CLASSES[label]
    with pytest.raises(ValueError, match="differs by class, but this sample has no label"):
        augment(images)


def test_per_class_values_follow_the_users_classes():
    augment = transform([1.0, 0.0], classes=["sad", "angry"])
    image = grey()
    assert augment(image, 1)[0] is image
    assert augment(image, 0)[0] is not image
    assert transform({"sad": 1.0, "angry": 0.0, "happy": 0.0}, classes=["sad", "angry"])(image, 0)[0] is not image


@pytest.mark.parametrize("value", [[0.5, 0.5], {"angry": 0.5}, {"angry": 0.1, "happy": 0.1, "joy": 0.1}])
def test_per_class_values_that_do_not_fit_are_refused(value):
    with pytest.raises(ValueError, match=r"(for each of|known are) \['angry', 'happy', 'sad'\]"):
        transform(value)(grey(), 0)


@pytest.mark.parametrize("name", ["p", "strength"])
def test_a_value_for_another_class_does_not_stand_for_a_missing_one(name):
    with pytest.raises(ValueError, match=rf"{name} must have a value for each of \['sad', 'angry'\], got"):
        transform(**{name: {"angry": 0.5, "happy": 0.5}}, classes=["sad", "angry"])


@pytest.mark.parametrize("value", [np.float32(0.5), torch.tensor(0.5), np.full(3, 0.5), torch.full((3,), 0.5)])
def test_numbers_of_numpy_and_torch(value):
    image = grey(8)
    labels = torch.zeros(8, dtype=torch.int64)
    torch.manual_seed(1)
    expected, _ = transform(0.5, 0.5)(image, labels)
    torch.manual_seed(1)
    assert torch.equal(transform(value, value)(image, labels)[0], expected)


def test_an_integer_of_numpy_is_a_label():
    image = grey()
    outs = []
    for label in (2, np.int64(2)):
        torch.manual_seed(1)
        outs.append(transform()(image, label)[0])
    assert torch.equal(*outs)


def test_classes_that_differ_in_case_alone_are_kept_apart():
    augment = transform(checkpoint=replace(ARTIFACT, classes=["A", "B", "a"]), classes=["a", "A", "B"])
    assert augment.class_indices(torch.tensor([0, 1, 2])).tolist() == [2, 0, 1]


# --- Ranges and settings ----------------------------------------------------------------------------------------


def test_normalised_images_are_refused_or_undone_and_redone():
    image = torch.rand(2, 3, 32, 32)
    mean, std = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]
    normalised = v2.functional.normalize(image, mean, std)
    with pytest.raises(ValueError, match=r"before Normalize, or pass mean= and std="):
        transform()(normalised)
    torch.manual_seed(1)
    expected = v2.functional.normalize(transform()(image), mean, std)
    torch.manual_seed(1)
    assert_close(transform(mean=mean, std=std)(normalised), expected, rtol=0, atol=1e-4)
    erased = v2.RandomErasing(1.0, value=9.0)(normalised)
    message = r"after undoing Normalize; mean= and std= are not .* such as RandomErasing comes between; put it after"
    with pytest.raises(ValueError, match=message):
        transform(mean=mean, std=std)(erased)
    with pytest.raises(TypeError, match="normalised floats were expected"):
        transform(mean=mean, std=std)(torch.zeros(3, 8, 8, dtype=torch.uint8))
    with pytest.raises(ValueError, match="mean and std have 3 and 3 values, the images 1 channels"):
        transform(mean=mean, std=std)(grey())


def test_images_that_require_gradients(no_warnings):
    images = grey(2)
    torch.manual_seed(1)
    expected = transform()(images)
    torch.manual_seed(1)
    assert torch.equal(transform()(images.requires_grad_()), expected)


def test_pixels_that_are_not_finite_are_refused():
    image = grey()
    image[0, 3, 3] = torch.nan
    with pytest.raises(ValueError, match="NaN or infinite"):
        transform()(image)


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (torch.rand(4, 8, 8), ValueError, "1 or 3 channels, got 4"),
        (tv_tensors.Image(torch.zeros(3, 8, 8, dtype=torch.int32)), TypeError, "uint8 or floating point"),
        (torch.zeros(3, 8, 8, dtype=torch.int64), TypeError, "uint8 or floating point"),
        (tv_tensors.Video(torch.rand(0, 1, 8, 8)), None, None),
        (PIL.Image.new("RGBA", (8, 8)), TypeError, r'call image\.convert\("RGB"\)'),
    ],
)
def test_images_that_cannot_be_augmented(image, error, message):
    if error is None:
        assert transform()(image) is image
    else:
        with pytest.raises(error, match=message):
            transform()(image)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"p": 1.5}, r"p must be in \[0, 1\], got 1\.5"),
        ({"p": -0.1}, "p must be"),
        ({"p": [0.5, 2]}, "p must be"),
        ({"p": []}, "one number per class"),
        ({"p": True}, "p must be"),
        ({"strength": -1}, "strength must be finite and >= 0, got -1"),
        ({"strength": float("inf")}, "strength must be finite"),
        ({"strength": float("nan")}, "strength must be finite"),
        ({"mode": "sharp"}, "mode must be one of"),
        ({"perturbation": "noise"}, "perturbation must be one of"),
        ({"mean": [0.5]}, "mean and std go together"),
        ({"mean": [0.5], "std": [0.0]}, "std must be above 0"),
        ({"labels_getter": 3}, "labels_getter must be"),
        ({"classes": 7}, "classes must be the names of your classes in label order, got 7"),
        ({"classes": "sad"}, "classes must be the names"),
    ],
)
def test_settings_are_checked_at_once(arguments, message):
    with pytest.raises(ValueError, match=message):
        SemanticAugment(**({"p": 0.5} | arguments))


def test_a_checkpoint_that_is_not_there_is_found_out_at_once():
    with pytest.raises(FileNotFoundError, match="no checkpoint 'runs/fases/checkpoint'"):
        SemanticAugment(checkpoint="runs/fases/checkpoint")


def test_none_takes_what_the_artifact_recommends():
    artifact = build_artifact()
    artifact.recommended = Recommended(mode="decode", shrinkage=None, strength=0.2)
    image = grey()
    torch.manual_seed(1)
    out = SemanticAugment(1.0, checkpoint=artifact)(image)
    torch.manual_seed(1)
    explicit = transform(1.0, 0.2, checkpoint=artifact, mode="decode")(image)
    assert torch.equal(out, explicit)


# --- In other people's training loops ------------------------------------------------------------------------------


def test_it_is_light_to_pickle_and_to_copy(saved):
    for checkpoint in (str(saved), Artifact.from_pretrained(saved)):
        augment = transform(checkpoint=checkpoint, classes=CLASSES)
        image = grey(2)
        torch.manual_seed(1)
        expected = augment(image)
        data = pickle.dumps(augment)
        assert len(data) < 10_000
        for again in (pickle.loads(data), copy.deepcopy(augment)):
            torch.manual_seed(1)
            assert torch.equal(again(image), expected)


@pytest.mark.parametrize("saved_first", [True, False])
def test_the_default_device_does_not_matter(saved, saved_first):
    image = grey()
    checkpoint = saved if saved_first else build_artifact()
    torch.manual_seed(1)
    expected = transform(strength=[0.1, 0.2, 0.3], classes=CLASSES, checkpoint=checkpoint)(image, 1)[0]
    torch.manual_seed(1)
    with torch.device("meta"):  # as a GPU set by torch.set_default_device
        found = transform(strength=[0.1, 0.2, 0.3], classes=CLASSES, checkpoint=checkpoint)(image, 1)[0]
    assert torch.equal(found, expected)


def test_an_artifact_in_memory_goes_whole():
    image = grey()
    augment = pickle.loads(pickle.dumps(transform()))
    torch.manual_seed(1)
    expected = transform()(image)
    torch.manual_seed(1)
    assert torch.equal(augment(image), expected)


def test_a_shallow_copy_shares_generator_and_artifact(saved):
    artifact, generator = Artifact.from_pretrained(saved), torch.Generator().manual_seed(1)
    artifact.recommended = Recommended(strength=0.0)
    augment = transform(strength=None, checkpoint=artifact, generator=generator)
    copied = copy.copy(augment)
    copied.classes = CLASSES[::-1]
    assert augment.classes is None
    assert copied.artifact is artifact
    before = generator.get_state()
    copied(grey())
    assert not torch.equal(generator.get_state(), before)


def test_it_leaves_a_model_around_it_alone():
    model = torch.nn.Sequential(transform(), torch.nn.Conv2d(1, 2, 3))
    images = grey(2)
    model(images).sum().backward()
    assert list(model.state_dict()) == ["1.weight", "1.bias"]
    assert len(list(model.parameters())) == 2
    assert len(list(model[0].modules())) == 1
    torch.manual_seed(1)
    training = model.train()[0](images)
    torch.manual_seed(1)
    assert torch.equal(model.eval()[0](images), training)
    assert not ARTIFACT.encoder.training


def test_repr_reads_well(saved):
    assert repr(transform(0.5, checkpoint=str(saved))) == (
        f"SemanticAugment(p=0.5, strength=0.5, checkpoint={str(saved)!r}, mode='detail')"
    )
    assert "p=0.5, strength=0.35, " in repr(SemanticAugment(checkpoint=str(saved))), "as the checkpoint recommends"
    assert "perturbation='pooled', enabled=False" in repr(off(transform(perturbation="pooled")))


def off(augment):
    augment.enabled = False
    return augment


def test_enabled_switches_it_off():
    image = grey()
    assert off(transform())(image) is image


class Labelled(torch.utils.data.Dataset):
    """The same image again and again, with a joint transform."""

    def __init__(self, augment):
        self.augment = augment

    def __len__(self):
        return 16

    def __getitem__(self, index):
        return self.augment(torch.full((1, 32, 32), 0.5), index % 3)


FORKSERVER = SERVER.get_start_method()  # whose workers get everything pickled, as those of "spawn" do
WAYS = [(True, False), (False, True), (True, True)]  # persistent workers, a generator of the transform's own


@pytest.mark.parametrize(
    ("context", "persistent", "with_generator"),
    [
        *[("fork", *way) for way in WAYS],
        *[(FORKSERVER, *way) for way in WAYS],
        *[pytest.param("spawn", *way, marks=pytest.mark.slow) for way in WAYS],
    ],
)
def test_workers_and_epochs_differ_seeds_repeat_and_enabled_reaches_them(saved, context, persistent, with_generator):
    def make(context):
        generator = torch.Generator().manual_seed(5) if with_generator else None
        augment = transform(checkpoint=str(saved), generator=generator)
        return augment, DataLoader(
            Labelled(augment),
            batch_size=4,
            num_workers=2,
            persistent_workers=persistent,
            multiprocessing_context=context,
            generator=torch.Generator().manual_seed(0),
        )

    augment, loader = make(context)
    first, second = (torch.cat([images for images, _ in loader]) for _ in range(2))
    assert len(torch.cat([first, second]).flatten(1).unique(dim=0)) == 32
    augment.enabled = False
    assert torch.equal(torch.cat([images for images, _ in loader]), torch.full((16, 1, 32, 32), 0.5))
    _, again = make("fork")  # whatever the context was
    assert_close(torch.cat([images for images, _ in again]), first)


def test_a_worker_stays_on_one_thread(saved):
    class Threads(Labelled):
        def __getitem__(self, index):
            super().__getitem__(index)
            return torch.get_num_threads()

    loader = DataLoader(Threads(transform(checkpoint=str(saved))), num_workers=1, multiprocessing_context="fork")
    assert set(torch.cat(list(loader)).tolist()) == {1}


def test_a_real_image_folder_pipeline(folder, saved, no_warnings):
    data = ImageFolder(
        str(folder),
        transform=v2.Compose(
            [
                v2.ToImage(),
                v2.RandomHorizontalFlip(),
                SemanticAugment(p=0.5, strength=0.3, checkpoint=str(saved)),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize([0.5] * 3, [0.5] * 3),
            ]
        ),
    )
    for images, labels in DataLoader(data, batch_size=6, shuffle=True, num_workers=2):
        assert images.shape == (6, 3, 32, 32)
        assert labels.shape == (6,)


def test_cuda_in_a_worker_is_refused_by_name(saved):
    data = Labelled(transform(checkpoint=str(saved), device="cuda"))
    with pytest.raises(RuntimeError, match="SemanticLoader"):
        next(iter(DataLoader(data, num_workers=1)))


# --- Domain check -------------------------------------------------------------------------------------------------


def test_images_unlike_the_checkpoints_are_told_once(monkeypatch):
    artifact = build_artifact()
    artifact.reconstruction = {"l1_mean": 0.01, "l1_std": 0.001}
    augment = transform(checkpoint=artifact)
    augment(grey(40))
    with pytest.warns(UserWarning, match=r"trained on: reconstruction .* an even grey .*domain_check=False"):
        augment(grey(40))
    augment(grey(80))  # warnings are errors here: it does not come twice
    transform(checkpoint=artifact, domain_check=False)(grey(80))
    monkeypatch.setattr("semantic_aug.model.domain.Domain.complaint", lambda *_: None)
    transform(checkpoint=artifact)(grey(80))


def test_of_a_video_the_first_frame_is_looked_at(monkeypatch):
    looked = []
    monkeypatch.setattr(
        "semantic_aug.model.domain.Domain.look", lambda self, images, artifact: looked.append(len(images))
    )
    artifact = build_artifact()
    artifact.reconstruction = {"l1_mean": 0.01, "l1_std": 0.001}
    transform(checkpoint=artifact)(tv_tensors.Video(grey(5)))
    transform(checkpoint=artifact)(grey(70))
    assert looked == [1, 64]


def test_of_several_workers_only_the_first_warns(saved, tmp_path):
    artifact = build_artifact()
    artifact.reconstruction = {"l1_mean": 0.01, "l1_std": 0.001}
    artifact.save(tmp_path / "a")
    augment = transform(checkpoint=str(tmp_path / "a"))
    data = TensorDataset(grey(200), torch.zeros(200, dtype=torch.int64))
    collate = Collate(augment, tmp_path / "warnings")
    for _ in DataLoader(data, batch_size=100, num_workers=2, collate_fn=collate):
        pass
    assert Path(collate.path).read_text() == "warned\n"
    assert augment(grey(80)) is not None  # decided for all processes: no warning here


class Collate:
    """Augments in the worker, and notes each warning in a file."""

    def __init__(self, augment, path):
        self.augment, self.path = augment, path

    def __call__(self, samples):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warnings.filterwarnings("ignore", "no class names are known")
            batch = self.augment(torch.utils.data.default_collate(samples))
        with open(self.path, "a") as file:
            file.writelines("warned\n" for _ in caught)
        return batch
