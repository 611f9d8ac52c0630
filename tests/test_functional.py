import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from semantic_aug import images
from semantic_aug.functional import direction_noise, semantic_augment_image
from semantic_aug.model.recommended import MODES, Recommended
from semantic_aug.model.runtime import LatentModel
from semantic_aug.model.statistics import POOLED
from semantic_aug.perturb import NEEDS_LABELS, PERTURBATIONS
from tests.conftest import build_artifact

ARTIFACTS = {1: build_artifact(), 3: build_artifact(channels=3)}
D = 8


def oracle(image, noise, artifact, label, strength, mode):
    """Eq. 4 on one image of the model's own size and channels, step by step."""
    x = images.unit_to_model(image)[None]
    mu = artifact.encode(x)
    factor = artifact.statistics.factor(label)
    z = mu + strength**0.5 * (factor @ noise)[None]
    y = images.model_to_unit(artifact.decode(z))
    if mode == "detail":
        y = image + y - images.model_to_unit(artifact.decode(mu))
    return y[0].clamp(0, 1)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("label", [0, 2, POOLED])
def test_equals_the_plain_formula(mode, channels, label):
    artifact = ARTIFACTS[channels]
    image, noise = torch.rand(channels, 32, 32), torch.randn(D)
    out = semantic_augment_image(image, noise, LatentModel.of(artifact), label, strength=0.5, mode=mode)
    assert_close(out, oracle(image, noise, artifact, label, 0.5, mode), rtol=0, atol=1e-5)


@settings(max_examples=60)
@given(
    leading=st.sampled_from([(), (1,), (3,), (2, 2), (0,), (5, 0), (0, 5)]),
    channels=st.sampled_from([1, 3]),
    model=st.sampled_from([1, 3]),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    dtype=st.sampled_from([torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    mode=st.sampled_from(MODES),
    perturbation=st.sampled_from(sorted(PERTURBATIONS)),
    strength=st.floats(0, 10),
)
def test_shape_dtype_range_and_input_are_kept(leading, channels, model, size, dtype, mode, perturbation, strength):
    artifact = ARTIFACTS[model]
    image = images.unit_to_tensor(torch.rand(*leading, channels, *size), dtype)
    before = image.clone()
    labels = torch.randint(0 if perturbation in NEEDS_LABELS else POOLED, 3, leading)
    out = semantic_augment_image(
        image,
        torch.randn(*leading, D),
        LatentModel.of(artifact),
        labels,
        strength=strength,
        mode=mode,
        perturbation=perturbation,
    )
    assert out.shape == image.shape
    assert out.dtype == dtype
    assert torch.equal(image, before)
    assert image._version == 0
    assert out.isfinite().all()
    assert not out.requires_grad
    if out.numel():
        assert out.min() >= 0
        assert out.max() <= (255 if dtype == torch.uint8 else 1)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("leading", [(2,), (2, 1), (4, 3)])
def test_batched_equals_unbatched(mode, leading):
    artifact = ARTIFACTS[1]
    image, noise = torch.rand(1, 20, 30), torch.randn(D)
    single = semantic_augment_image(image, noise, LatentModel.of(artifact), 1, mode=mode)
    batched = semantic_augment_image(image.expand(*leading, -1, -1, -1), noise, LatentModel.of(artifact), 1, mode=mode)
    assert_close(batched, single.expand_as(batched), rtol=0, atol=1e-4)


def test_labels_strength_and_noise_belong_to_their_image():
    artifact = ARTIFACTS[1]
    image, noise = torch.rand(4, 1, 32, 32), torch.randn(4, D)
    labels, strength = torch.tensor([0, 1, 2, POOLED]), torch.tensor([0.1, 0.5, 1.0, 2.0])
    out = semantic_augment_image(image, noise, LatentModel.of(artifact), labels, strength=strength)
    for i in range(4):
        one = semantic_augment_image(
            image[i], noise[i], LatentModel.of(artifact), int(labels[i]), strength=float(strength[i])
        )
        assert_close(out[i], one, rtol=0, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("size", [(32, 32), (17, 61)])
def test_strength_0_is_the_identity_in_detail_and_the_reconstruction_in_decode(dtype, size):
    artifact = ARTIFACTS[1]
    image = images.unit_to_tensor(torch.rand(2, 3, *size), dtype)
    same = semantic_augment_image(image, torch.randn(2, D), LatentModel.of(artifact), strength=0, mode="detail")
    assert_close(same, image, rtol=0, atol=1e-5)
    model = torch.rand(2, 1, 32, 32)
    decoded = semantic_augment_image(model, torch.randn(2, D), LatentModel.of(artifact), strength=0, mode="decode")
    reconstruction = artifact.decode(artifact.encode(images.unit_to_model(model)))
    assert_close(decoded, images.model_to_unit(reconstruction), rtol=0, atol=1e-5)


def test_a_grey_model_keeps_the_chroma_of_an_rgb_image():
    image = torch.rand(3, 32, 32) / 2 + 0.25
    for mode in MODES:
        out = semantic_augment_image(image, torch.randn(D), LatentModel.of(ARTIFACTS[1]), strength=0.01, mode=mode)
        inside = ((out > 0) & (out < 1)).all(0)
        assert inside.any()
        chroma, before = (x - images.to_grey(x[None])[0] for x in (out, image))
        assert_close(chroma[:, inside], before[:, inside], rtol=0, atol=1e-5)


def test_misuse_is_refused():
    artifact = ARTIFACTS[1]
    with pytest.raises(ValueError, match=r"1 or 3 channels, got 4 in shape \(4, 8, 8\)"):
        semantic_augment_image(torch.rand(4, 8, 8), torch.randn(D), LatentModel.of(artifact))
    with pytest.raises(ValueError, match="mode must be one of"):
        semantic_augment_image(torch.rand(1, 8, 8), torch.randn(D), LatentModel.of(artifact), mode="encode")
    with pytest.raises(TypeError, match="uint8 or floating point"):
        semantic_augment_image(torch.zeros(1, 8, 8, dtype=torch.int64), torch.randn(D), LatentModel.of(artifact))


@pytest.mark.parametrize("label", [1, POOLED])
@pytest.mark.parametrize("shrinkage", ["oas", "pooled", None])
def test_direction_noise_walks_along_the_leading_directions(label, shrinkage):
    """With the shrinkage that the artifact recommends, whatever it is."""
    artifact = replace(ARTIFACTS[1], recommended=Recommended(shrinkage=shrinkage))
    deviations = torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [-1.0, 0.5, 3.0]])
    image = torch.rand(3, 1, 32, 32)
    noise = direction_noise(deviations, LatentModel.of(artifact), label)
    walked = semantic_augment_image(image, noise, LatentModel.of(artifact), label, strength=1, mode="decode")
    variances, vectors = artifact.statistics.directions(label, artifact.recommended.shrinkage)
    offset = (deviations.double() * variances[:3].sqrt()) @ vectors[:, :3].T
    z = artifact.encode(images.unit_to_model(image)) + offset.float()
    assert_close(walked, images.model_to_unit(artifact.decode(z)), rtol=0, atol=1e-5)


def test_direction_noise_of_too_many_directions():
    with pytest.raises(ValueError, match="at most 8 directions, which the model has, got 9"):
        direction_noise(torch.zeros(9), LatentModel.of(ARTIFACTS[1]))


@pytest.mark.parametrize("mode", MODES)
def test_what_is_not_given_is_as_the_artifact_recommends(mode):
    artifact = replace(ARTIFACTS[1], recommended=Recommended(mode=mode, strength=0.7, shrinkage="pooled"))
    image, noise = torch.rand(2, 1, 32, 32), torch.randn(2, D)
    out = semantic_augment_image(image, noise, LatentModel.of(artifact), 1)
    model = LatentModel.of(ARTIFACTS[1], shrinkage="pooled")
    assert torch.equal(out, semantic_augment_image(image, noise, model, 1, strength=0.7, mode=mode))
    assert not torch.equal(out, semantic_augment_image(image, noise, LatentModel.of(ARTIFACTS[1]), 1))


def test_an_artifact_in_place_of_a_model_is_refused_with_the_way_out():
    with pytest.raises(TypeError, match=r"call LatentModel\.of\(artifact\)"):
        semantic_augment_image(torch.rand(1, 8, 8), torch.randn(D), ARTIFACTS[1])


@pytest.mark.parametrize("perturbation", PERTURBATIONS)
@pytest.mark.parametrize("label", [-2, 3])
@pytest.mark.parametrize("form", ["int", "tensor"])
def test_unknown_labels_and_strengths_are_refused(perturbation, label, form):
    image, noise = torch.rand(2, 1, 32, 32), torch.randn(D)
    labels = label if form == "int" else torch.tensor([0, label])
    with pytest.raises(ValueError, match=r"labels must lie in (0|-1)\.\.2 for"):
        semantic_augment_image(image, noise, LatentModel.of(ARTIFACTS[1]), labels, perturbation=perturbation)
    with pytest.raises(ValueError, match=r"strength must be >= 0 and finite, got -1\.0"):
        semantic_augment_image(image, noise, LatentModel.of(ARTIFACTS[1]), 0, perturbation=perturbation, strength=-1.0)
    for strength in (math.inf, torch.tensor([0.1, -0.1]), torch.tensor(math.nan)):
        with pytest.raises(ValueError, match="strength must be >= 0 and finite, got"):
            semantic_augment_image(
                image, noise, LatentModel.of(ARTIFACTS[1]), 0, perturbation=perturbation, strength=strength
            )


@pytest.mark.parametrize("perturbation", NEEDS_LABELS)
def test_the_pooled_label_is_none_for_what_needs_labels(perturbation):
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.2"):
        semantic_augment_image(
            torch.rand(1, 32, 32), torch.randn(D), LatentModel.of(ARTIFACTS[1]), perturbation=perturbation
        )


def test_the_callers_autocast_does_not_reach_in():
    arguments = torch.rand(3, 1, 32, 32), torch.randn(3, D), LatentModel.of(ARTIFACTS[1]), torch.tensor([0, 1, 2])
    expected = semantic_augment_image(*arguments)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(semantic_augment_image(*arguments), expected)
