"""A LatentModel against the artifact that it is made of."""

import pytest
import torch
from torch.testing import assert_close

from semantic_aug import SemanticAugmentBatch
from semantic_aug.functional import semantic_augment_image
from semantic_aug.model.recommended import MODES
from semantic_aug.model.runtime import LatentModel
from semantic_aug.model.statistics import POOLED
from tests.conftest import build_artifact

ARTIFACT = build_artifact()


@pytest.mark.parametrize(("dtype", "tolerance"), [(None, 0), (torch.bfloat16, 0.15), (torch.float16, 0.02)])
def test_it_computes_what_the_artifact_does(dtype, tolerance):
    before = ARTIFACT.fingerprint
    model = LatentModel.of(ARTIFACT, "cpu", dtype)
    x = torch.rand(4, 1, 32, 32) * 2 - 1
    mu, images = model.encode(x), model.decode(ARTIFACT.encode(x))
    assert mu.dtype == images.dtype == torch.float32
    assert_close(mu, ARTIFACT.encode(x), rtol=0, atol=tolerance)
    assert_close(images, ARTIFACT.decode(ARTIFACT.encode(x)), rtol=0, atol=tolerance)
    assert ARTIFACT.fingerprint == before
    assert all(parameter.dtype == torch.float32 for parameter in ARTIFACT.generator.parameters())


def test_the_networks_are_held_once_where_nothing_has_to_change():
    model = LatentModel.of(ARTIFACT)
    assert model.encoder is ARTIFACT.encoder
    assert model.generator is ARTIFACT.generator
    assert LatentModel.of(ARTIFACT, "cpu", torch.float32).generator is ARTIFACT.generator
    assert model.encoder.stem.weight.is_contiguous(memory_format=torch.channels_last)


def test_norms_stay_float32():
    model = LatentModel.of(ARTIFACT, "cpu", torch.bfloat16)
    dtypes = {type(m).__name__: {p.dtype for p in m.parameters(recurse=False)} for m in model.encoder.modules()}
    assert dtypes["Conv2d"] == dtypes["Linear"] == {torch.bfloat16}
    assert dtypes["BatchNorm2d"] == {torch.float32}
    assert model.encoder.norm.running_var.dtype == torch.float32
    assert model.encoder.stem.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("shrinkage", ["pooled", None, 0.5])
def test_means_and_factors_are_those_of_the_statistics(shrinkage):
    statistics = ARTIFACT.statistics
    model = LatentModel.of(ARTIFACT, shrinkage=shrinkage, rank=5)
    assert model.num_classes == 3
    assert_close(model.means.double(), statistics.mean, rtol=1e-6, atol=1e-6)
    for label in (0, 2, POOLED):
        assert torch.equal(model.factors[label], statistics.factor(label, shrinkage, rank=5))
    assert torch.equal(LatentModel.of(ARTIFACT).factors, statistics.factors(ARTIFACT.recommended.shrinkage))


def test_another_device_gets_a_copy():
    model = LatentModel.of(ARTIFACT, "meta")
    assert model.device.type == model.generator.head.weight.device.type == model.means.device.type == "meta"
    assert ARTIFACT.device.type == "cpu"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_the_wrapper_gives_what_the_function_gives(mode, dtype):
    images, labels = torch.rand(6, 3, 20, 24), torch.arange(6) % 3
    augment = SemanticAugmentBatch(1.0, 0.1, checkpoint=ARTIFACT, mode=mode, dtype=dtype)
    params = augment.draw((images, labels))
    out, _ = augment.apply((images, labels), params)
    model = LatentModel.of(ARTIFACT)
    plain = semantic_augment_image(images, params["noise"], model, labels, strength=0.1, mode=mode)
    difference = (out - plain).abs()
    assert difference.max() < (1e-6 if dtype is None else 0.2)
    assert difference.mean() < (1e-7 if dtype is None else 0.02)
