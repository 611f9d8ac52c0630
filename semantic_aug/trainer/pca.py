"""Initialise E and G as a whitened PCA, the optimum of a linear VAE (arXiv 1911.02469)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, unfold

from semantic_aug._random import seeded
from semantic_aug.data.dataset import ImageSet
from semantic_aug.model.networks import Encoder, Generator

IMAGES, PATCHES = 10_000, 40_000  # maximum number of images or patches to use
SQUEEZE = 0.95  # keeps atanh finite at black and white
LEAST_VARIANCE = 1e-2  # minimum variance of a direction, for fewer images than latent dimensions


@torch.no_grad()
def start_as_pca(encoder: Encoder, generator: Generator, data: ImageSet, seed: int) -> None:
    """Set the linear layers so that G(E(x)) is the PCA of x, and latents are uncorrelated with unit variance.

    For a latent map, it is the PCA of the patches of x, which is the same at every position. The components are those
    of atanh(x), so that G's tanh restores x. E gets pixels and not their atanh, so its layer is the least-squares
    predictor of the components.
    """
    most = max(PATCHES // encoder.lowest_size**2, 1) if encoder.latent_map else IMAGES
    chosen = torch.randperm(len(data), generator=seeded(seed, "pca"))[:most]
    pixels = linear_inputs(encoder, data.batch(chosen)).double()
    targets = torch.atanh(SQUEEZE * pixels)
    centred, mean = targets - targets.mean(0), targets.mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
    d = min(len(encoder.linear.weight), len(values))
    values, vectors = values[-d:].clamp(min=LEAST_VARIANCE).flip(0), vectors[:, -d:].flip(1)
    latents = centred @ vectors / values.sqrt()
    x_mean = pixels.mean(0)
    x = pixels - x_mean
    ridge = LEAST_VARIANCE * torch.eye(x.shape[1], dtype=x.dtype)
    weight = torch.linalg.solve(x.T @ x / len(x) + ridge, x.T @ latents / len(x)).T
    analysis, synthesis = encoder.linear, generator.linear
    assert analysis.bias is not None
    assert synthesis.bias is not None
    for parameter in (analysis.weight, analysis.bias, synthesis.weight, synthesis.bias):
        parameter.zero_()
    analysis.weight[:d] = weight.reshape(d, *analysis.weight.shape[1:]).to(analysis.weight)
    analysis.bias[:d] = -(weight @ x_mean).to(analysis.bias)
    components = (vectors * values.sqrt()).to(synthesis.weight)  # (values, d)
    if isinstance(synthesis, nn.Linear):
        synthesis.weight[:, :d] = components
        synthesis.bias.copy_(mean)
    else:
        synthesis.weight[:d] = components.T.reshape(d, *synthesis.weight.shape[1:])
        synthesis.bias.copy_(mean.unflatten(0, (len(synthesis.bias), -1)).mean(1))  # of each channel


def linear_inputs(encoder: Encoder, images: Tensor) -> Tensor:
    """What E's linear layer sees of images (N, C, S, S): N thumbnails, or the patches of all images, (..., values)."""
    if isinstance(encoder.linear, nn.Linear):
        return adaptive_avg_pool2d(images, encoder.thumbnail_size).flatten(1)
    patch = encoder.linear.weight.shape[2]
    return unfold(images, patch, stride=patch).transpose(1, 2).flatten(0, 1)
