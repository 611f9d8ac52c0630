"""Initialise E and G as a whitened PCA, the optimum of a linear VAE (arXiv 1911.02469)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, pad, unfold

from semantic_aug._random import seeded
from semantic_aug.data.dataset import ImageSet
from semantic_aug.model.networks import Encoder, Generator

IMAGES, PATCHES = 10_000, 40_000  # maximum number of images or patches to use
SQUEEZE = 0.95  # keeps atanh finite at black and white
LEAST_VARIANCE = 1e-2  # minimum variance of a direction, for fewer images than latent dimensions


@torch.no_grad()
def start_as_pca(encoder: Encoder, generator: Generator, data: ImageSet, seed: int) -> None:
    """Set the linear layers so that G(E(x)) is the PCA of x, and latents are uncorrelated with unit variance.

    For a latent map, it is the PCA of the patches of x, which is the same at every position, and every pixel is
    predicted from the four positions around it. The components are those of atanh(x), so that G's tanh restores x. E
    gets pixels and not their atanh, so its layer is the least-squares predictor of the components.
    """
    analysis, synthesis = encoder.linear, generator.linear
    assert analysis.bias is not None
    assert synthesis.bias is not None
    most = IMAGES
    if isinstance(analysis, nn.Conv2d):
        most = max(PATCHES // (data.images.shape[2] // analysis.weight.shape[2]) ** 2, 1)
    chosen = torch.randperm(len(data), generator=seeded(seed, "pca"))[:most]
    images = data.batch(chosen)
    pixels = linear_inputs(encoder, images).double()
    targets = torch.atanh(SQUEEZE * pixels)
    centred, mean = targets - targets.mean(0), targets.mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
    d = min(len(analysis.weight), len(values))
    values, vectors = values[-d:].clamp(min=LEAST_VARIANCE).flip(0), vectors[:, -d:].flip(1)
    latents = centred @ vectors / values.sqrt()
    x_mean = pixels.mean(0)
    weight = least_squares(pixels - x_mean, latents).T
    for parameter in (analysis.weight, analysis.bias, synthesis.weight, synthesis.bias):
        parameter.zero_()
    analysis.weight[:d] = weight.reshape(d, *analysis.weight.shape[1:]).to(analysis.weight)
    analysis.bias[:d] = -(weight @ x_mean).to(analysis.bias)
    if isinstance(synthesis, nn.Linear):
        synthesis.weight[:, :d] = (vectors * values.sqrt()).to(synthesis.weight)
        synthesis.bias.copy_(mean)
    else:
        bias = mean.unflatten(0, (len(synthesis.bias), -1)).mean(1)  # of each channel
        synthesis.bias.copy_(bias)
        targets = torch.atanh(SQUEEZE * images.double()) - bias[:, None, None]
        latent_map = analysis(images.to(analysis.weight)).cpu().double()  # not every device has float64
        synthesis.weight.copy_(predict_from_four(latent_map, targets))


def linear_inputs(encoder: Encoder, images: Tensor) -> Tensor:
    """What E's linear layer sees of images (N, C, S, S): N thumbnails, or the patches of all images, (..., values)."""
    if isinstance(encoder.linear, nn.Linear):
        return adaptive_avg_pool2d(images, encoder.thumbnail_size).flatten(1)
    patch = encoder.linear.weight.shape[2]
    return unfold(images, patch, stride=patch).transpose(1, 2).flatten(0, 1)


def predict_from_four(latents: Tensor, targets: Tensor) -> Tensor:
    """The kernel (c, C, 2P, 2P) of G's linear layer that predicts targets (N, C, S, S) best from maps (N, c, h, h).

    The square between the centres of four positions is predicted from these four.
    """
    (_, c, side, _), (channels, size) = latents.shape, targets.shape[1:3]
    patch = size // side
    four = unfold(pad(latents, (1, 1, 1, 1), mode="replicate"), 2).transpose(1, 2).flatten(0, 1)
    squares = unfold(pad(targets, (patch // 2,) * 4, mode="replicate"), patch, stride=patch)
    weight = least_squares(four, squares.transpose(1, 2).flatten(0, 1))  # (c x 2 x 2, C x P x P)
    weight = weight.reshape(c, 2, 2, channels, patch, patch).flip(1, 2)  # a position's kernel ends where it is first
    return weight.permute(0, 3, 1, 4, 2, 5).reshape(c, channels, 2 * patch, 2 * patch)


def least_squares(x: Tensor, y: Tensor) -> Tensor:
    """The matrix W with which x W is closest to y, for x (N, m) and y (N, n), both of mean 0."""
    ridge = LEAST_VARIANCE * torch.eye(x.shape[1], dtype=x.dtype)
    return torch.linalg.solve(x.T @ x / len(x) + ridge, x.T @ y / len(x))
