import pytest
import torch
from torch.testing import assert_close

from semantic_aug.evaluation.lpips import Perceptual


def test_distances_and_gradients(torch_home):
    perceptual = Perceptual()
    x, y = (torch.rand(3, 1, 48, 48) * 2 - 1 for _ in range(2))
    y.requires_grad_()
    distances = perceptual(x, y)
    assert distances.shape == (3,)
    assert_close(perceptual(x, x), torch.zeros(3))
    distances.sum().backward()
    assert y.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in perceptual.parameters())


def test_another_range_is_refused(torch_home):
    with pytest.raises(ValueError, match=r"in \[-1, 1\], got values up to 255"):
        Perceptual()(torch.full((1, 3, 48, 48), 255.0), torch.zeros(1, 3, 48, 48))


@pytest.mark.parametrize("content", [None, b"", b"broken"])
def test_missing_or_broken_weights_are_named(tmp_path, monkeypatch, content):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = tmp_path / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"
    if content is not None:
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    monkeypatch.setattr("urllib.request.urlopen", offline)
    with pytest.raises(FileNotFoundError, match=r"squeezenet1_1-b8a52dc0\.pth at ") as caught:
        Perceptual()
    assert str(path) in str(caught.value)


def offline(*_, **__):
    from urllib.error import URLError

    raise URLError("no network")
