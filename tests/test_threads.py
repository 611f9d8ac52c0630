"""Public objects used from many threads at once give what they give one after the other."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from semantic_aug import SemanticAugment, SemanticAugmentBatch
from tests.conftest import CLASSES, build_artifact

THREADS = 8


@pytest.fixture
def short_switches():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.filterwarnings("ignore:these images do not look like")
@pytest.mark.parametrize("kind", [SemanticAugment, SemanticAugmentBatch])
@pytest.mark.parametrize("measured", [True, False])
def test_a_transform_from_many_threads(kind, measured, tmp_path, short_switches):
    """Loading on first use and the check for foreign images are raced. The draws are made before."""
    artifact = build_artifact()
    artifact.reconstruction = {"l1_mean": 1.0, "l1_std": 0.1} if measured else {}
    saved = artifact.save(tmp_path / "saved")
    sample = torch.rand(8, 1, 32, 32), torch.arange(8) % 3

    def make():
        return kind(1.0, 0.5, checkpoint=saved, classes=CLASSES)

    augment = make()
    draws = [augment.draw(sample) for _ in range(3 * THREADS)]
    serial = make()
    serial._domain_decided.fill_(True)
    expected = [serial.apply(sample, draw)[0] for draw in draws]
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(lambda draw: augment.apply(sample, draw)[0], draws))
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    assert len(augment._loaded.models) == 1
