import importlib.util

import pytest
import torch

from semantic_aug.evaluation.identity import identity_embedding


def test_without_the_packages_there_is_no_embedding(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert identity_embedding() is None


def test_the_embedding_lies_nearer_to_an_image_hardly_changed_than_to_another():
    embed = identity_embedding()
    if embed is None:
        pytest.skip("dlib-bin and face_recognition_models are not installed")
    coarse = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    x = torch.nn.functional.interpolate(coarse, size=(48, 48), mode="bilinear")
    one, other = embed(x)
    (near,) = embed(x[:1] * 0.99)
    assert one.shape == (128,)
    assert (one - near).norm() < (one - other).norm() / 3
    torch.testing.assert_close(embed(x.expand(-1, 3, -1, -1)), embed(x))
    assert embed(x[:0]).shape == (0, 128)
