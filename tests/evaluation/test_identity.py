import importlib.util

import pytest
import torch

from semantic_aug.evaluation.identity import identity_embedding


def test_without_the_packages_there_is_no_embedding(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert identity_embedding() is None


def test_the_embedding_is_a_unit_vector_for_each_face():
    pytest.importorskip("dlib")
    pytest.importorskip("face_recognition_models")
    embed = identity_embedding()
    x = torch.rand(3, 1, 48, 48) * 2 - 1
    found = embed(x)
    assert found.shape == (3, 128)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3, dtype=found.dtype), atol=0.2, rtol=0)
    torch.testing.assert_close(embed(x.expand(-1, 3, -1, -1)), found)
    assert embed(x[:0]).shape == (0, 128)
