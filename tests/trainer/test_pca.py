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
@pytest.mark.parametrize(("channels", "size"), [(3, 32), (3, 96), (1, 80)])
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


@torch.no_grad()
def test_the_latents_of_a_map_are_scikit_learns_pca_of_the_patches():
    data = smooth(60, size=48)
    encoder, generator = started(data, image_size=48, latent_map=True, latent_dim=36 * 3)
    x = data.batch(slice(None))
    patches = torch.nn.functional.unfold(x, 8, stride=8).transpose(1, 2).flatten(0, 1)
    targets = torch.atanh(module.SQUEEZE * patches).numpy()
    pca = PCA(3, svd_solver="full", whiten=True).fit(targets)
    latents = encoder(x)[0].unflatten(1, (3, 36)).transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(torch.cov(latents.T), torch.eye(3), rtol=0, atol=0.05)
    expected = torch.from_numpy(pca.transform(targets))
    sign = (latents * expected).sum(0).sign()
    assert float((latents * sign - expected).abs().mean()) < 0.05
    plain = torch.from_numpy(pca.inverse_transform(pca.transform(targets))).tanh().float()
    plain = torch.nn.functional.fold(plain.unflatten(0, (60, 36)).transpose(1, 2), 48, 8, stride=8)
    # Four positions predict a pixel better than the one whose patch it is in.
    assert (generator(encoder(x)[0]) - x).abs().mean() < 0.9 * (plain - x).abs().mean()


@torch.no_grad()
def test_the_kernel_that_made_the_targets_is_found():
    layer = torch.nn.ConvTranspose2d(3, 2, 8, stride=4, padding=6, bias=False).double()
    latents = torch.randn(200, 3, 5, 5, generator=torch.Generator().manual_seed(0)).double()
    targets = layer(torch.nn.functional.pad(latents, (1, 1, 1, 1), mode="replicate"))
    assert targets.shape == (200, 2, 20, 20)
    found = module.predict_from_four(latents, targets)
    torch.testing.assert_close(found, layer.weight.detach(), rtol=0, atol=0.1)


def test_a_map_has_a_start_for_several_channels_and_few_images():
    encoder, generator = started(smooth(2, 3, 32), channels=3, latent_map=True, latent_dim=16 * 5)
    assert generator(encoder(torch.zeros(2, 3, 32, 32))[0]).isfinite().all()
