import pytest
import torch
from torch.testing import assert_close

from semantic_aug.data.dataset import load_folder
from semantic_aug.evaluation.lpips import Perceptual
from semantic_aug.evaluation.quality import reconstruction
from semantic_aug.model.statistics import ClassStatistics
from semantic_aug.trainer.fit import fit_statistics


@pytest.mark.parametrize("batch", [1, 5, 256])
def test_statistics_of_a_folder(artifact, folder, batch):
    data = load_folder(folder, 1, 32)
    found = fit_statistics(artifact.encoder, data, batch=batch)
    expected = ClassStatistics(3, 8)
    expected.update(artifact.encode(data.batch(slice(None))), data.labels)
    assert found.count.tolist() == [6, 6, 6]
    assert_close(found.mean, expected.mean, rtol=1e-4, atol=1e-5)
    assert_close(found.scatter, expected.scatter, rtol=1e-3, atol=1e-5)


def test_misuse_is_refused(artifact, folder):
    data = load_folder(folder, 1, 32)
    with pytest.raises(ValueError, match="no images"):
        fit_statistics(artifact.encoder, data.subset([]))
    artifact.encoder.train()
    try:
        with pytest.raises(ValueError, match=r"call encoder\.eval\(\)"):
            fit_statistics(artifact.encoder, data)
    finally:
        artifact.encoder.eval()


def test_reconstruction_error(artifact, folder, torch_home):
    data = load_folder(folder, 1, 32)
    x = data.batch(slice(None))
    errors = (artifact.decode(artifact.encode(x)) - x).abs().flatten(1).mean(1)
    figures = reconstruction(artifact, data, Perceptual(), batch=5)
    assert figures["images"] == 18
    assert figures["l1_mean"] == pytest.approx(float(errors.mean()), abs=1e-4)
    assert figures["l1_std"] == pytest.approx(float(errors.std(correction=0)), abs=1e-4)
    assert figures["lpips_mean"] > 0
    assert "lpips_mean" not in reconstruction(artifact, data)
    assert torch.is_grad_enabled()
