"""Initialise E and G as a whitened PCA, the optimum of a linear VAE (arXiv 1911.02469)."""

import torch
from torch.nn.functional import adaptive_avg_pool2d

from semantic_aug._random import seeded
from semantic_aug.data.dataset import ImageSet
from semantic_aug.model.networks import Encoder, Generator

IMAGES = 10_000  # maximum number of images to use
SQUEEZE = 0.95  # keeps atanh finite at black and white
LEAST_VARIANCE = 1e-2  # minimum variance of a direction, for fewer images than latent dimensions


@torch.no_grad()
def start_as_pca(encoder: Encoder, generator: Generator, data: ImageSet, seed: int) -> None:
    """Set the linear layers so that G(E(x)) is the PCA of x, and latents are uncorrelated with unit variance.

    The components are those of atanh(x), so that G's tanh restores x. E gets pixels and not their atanh, so its layer
    is the least-squares predictor of the components.
    """
    chosen = torch.randperm(len(data), generator=seeded(seed, "pca"))[:IMAGES]
    pixels = adaptive_avg_pool2d(data.batch(chosen), encoder.thumbnail_size).flatten(1).double()
    targets = torch.atanh(SQUEEZE * pixels)
    centred, mean = targets - targets.mean(0), targets.mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
    d = min(generator.linear.in_features, len(values))
    values, vectors = values[-d:].clamp(min=LEAST_VARIANCE).flip(0), vectors[:, -d:].flip(1)
    latents = centred @ vectors / values.sqrt()
    x_mean = pixels.mean(0)
    x = pixels - x_mean
    ridge = LEAST_VARIANCE * torch.eye(x.shape[1], dtype=x.dtype)
    weight = torch.linalg.solve(x.T @ x / len(x) + ridge, x.T @ latents / len(x)).T
    for linear in (encoder.linear, generator.linear):
        linear.weight.zero_()
        linear.bias.zero_()
    encoder.linear.weight[:d] = weight.to(encoder.linear.weight)
    encoder.linear.bias[:d] = -(weight @ x_mean).to(encoder.linear.bias)
    generator.linear.weight[:, :d] = (vectors * values.sqrt()).to(generator.linear.weight)
    generator.linear.bias.copy_(mean)
