"""The fast copy against the plain path: the same functions, and nothing of the artifact is changed."""

import pytest
import torch
from torch.testing import assert_close

from semantic_aug import SemanticAugmentBatch
from semantic_aug.functional import semantic_augment_image
from semantic_aug.model.artifact import MODES
from semantic_aug.model.runtime import fast_copy
from tests.conftest import build_artifact

ARTIFACT = build_artifact()


@pytest.mark.parametrize(("dtype", "tolerance"), [(None, 1e-5), (torch.bfloat16, 0.15), (torch.float16, 0.02)])
def test_it_computes_what_the_artifact_does(dtype, tolerance):
    before = ARTIFACT.fingerprint
    fast = fast_copy(ARTIFACT, "cpu", dtype)
    x = torch.rand(4, 1, 32, 32) * 2 - 1
    with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
        mu, images = fast.encode(x).float(), fast.decode(ARTIFACT.encode(x)).float()
    assert_close(mu, ARTIFACT.encode(x), rtol=0, atol=tolerance)
    assert_close(images, ARTIFACT.decode(ARTIFACT.encode(x)), rtol=0, atol=tolerance)
    assert ARTIFACT.fingerprint == before
    assert all(parameter.dtype == torch.float32 for parameter in ARTIFACT.generator.parameters())


def test_norms_stay_float32():
    fast = fast_copy(ARTIFACT, "cpu", torch.bfloat16)
    dtypes = {type(m).__name__: {p.dtype for p in m.parameters(recurse=False)} for m in fast.encoder.modules()}
    assert dtypes["Conv2d"] == dtypes["Linear"] == {torch.bfloat16}
    assert dtypes["BatchNorm2d"] == {torch.float32}
    assert fast.encoder.norm.running_var.dtype == torch.float32
    assert fast.encoder.stem.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_the_wrapper_gives_what_the_plain_path_gives(mode, dtype):
    images, labels = torch.rand(6, 3, 20, 24), torch.arange(6) % 3
    augment = SemanticAugmentBatch(1.0, 0.1, checkpoint=ARTIFACT, mode=mode, dtype=dtype)
    params = augment.draw((images, labels))
    out, _ = augment.apply((images, labels), params)
    plain = semantic_augment_image(images, params["noise"], ARTIFACT, labels, strength=0.1, mode=mode)
    difference = (out - plain).abs()
    assert difference.max() < (1e-5 if dtype is None else 0.2)
    assert difference.mean() < (1e-6 if dtype is None else 0.02)
