import dataclasses

import pytest
import torch
from sklearn.decomposition import PCA

from semantic_aug.data.dataset import ImageSet
from semantic_aug.model.networks import PRESETS, Encoder, Generator
from semantic_aug.trainer import pca as module
from semantic_aug.trainer.pca import start_as_pca


def smooth(n, channels=1, size=32):
    """Images of few degrees of freedom in the middle of the range."""
    coarse = torch.rand(n, channels, 5, 5, generator=torch.Generator().manual_seed(0)) * 0.6 + 0.2
    images = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic").clamp(0, 1)
    return ImageSet((images * 255).to(torch.uint8), torch.zeros(n, dtype=torch.int64), ["a"], [])


def started(data, **options):
    config = dataclasses.replace(PRESETS["tiny"], **options)
    encoder, generator = Encoder(config).eval(), Generator(config).eval()
    start_as_pca(encoder, generator, data, seed=0)
    return encoder, generator


@torch.no_grad()
def test_it_equals_scikit_learns_pca():
    data = smooth(200)
    encoder, generator = started(data)
    x = data.batch(slice(None))
    mu, logvar = encoder(x)
    targets = torch.atanh(module.SQUEEZE * x.flatten(1)).numpy()
    pca = PCA(8, svd_solver="full").fit(targets)
    expected = torch.tanh(torch.from_numpy(pca.inverse_transform(pca.transform(targets)))).reshape(x.shape)
    # E predicts the components of atanh(x) from x, which costs a little.
    torch.testing.assert_close(generator(mu), expected.float(), rtol=0, atol=0.05)
    assert float((generator(mu) - expected).abs().mean()) < 5e-3
    torch.testing.assert_close(torch.cov(mu.T), torch.eye(8), rtol=0, atol=0.05)
    assert float(logvar.max()) == float(logvar.min()) == -3


@torch.no_grad()
@pytest.mark.parametrize(("channels", "size"), [(3, 32), (3, 64), (1, 96)])
def test_colours_and_thumbnails(channels, size):
    data = smooth(120, channels, size)
    encoder, generator = started(data, channels=channels, image_size=size, latent_dim=75)
    x = data.batch(slice(None))
    error = (generator(encoder(x)[0]) - x).abs().mean()
    assert error < 0.1 * (x - x.mean(0)).abs().mean()


@torch.no_grad()
@pytest.mark.parametrize("n", [1, 3])
def test_fewer_images_than_dimensions(n):
    data = smooth(n)
    encoder, generator = started(data)
    mu, _ = encoder(data.batch(slice(None)))
    assert mu.isfinite().all()
    assert generator(torch.randn(5, 8)).isfinite().all()


def test_it_repeats():
    data = smooth(50)
    a, b = (started(data)[0].linear.weight for _ in range(2))
    assert torch.equal(a, b)
