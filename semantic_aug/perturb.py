"""Perturbations of a latent: pure functions of (mu, labels, noise, model, strength).

``mu`` (N, d) are the latents of images, and ``labels`` (N,) are their class indices (``POOLED`` = -1 if a class is not
known). ``noise`` r (N, d) holds standard normal numbers, and ``model`` has the class means and covariance factors. All
are on the same device. ``strength`` s >= 0 is a float or (N,). The result is z' (N, d). Each row of it depends only on
the same row of the arguments, except for those in ``NEEDS_OTHERS``.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from semantic_aug.model.runtime import LatentModel
from semantic_aug.model.statistics import POOLED

Perturbation = Callable[[Tensor, Tensor, Tensor, LatentModel, float | Tensor], Tensor]


def covariance(mu: Tensor, labels: Tensor, noise: Tensor, model: LatentModel, strength: float | Tensor) -> Tensor:
    """z' ~ N(mu, s Sigma_c) (Eq. 4): z' = mu + sqrt(s) L_c r with L_c L_c^T = Sigma_c."""
    return mu + _root(strength, mu) * _colour(labels, noise, model)


def pooled(mu: Tensor, labels: Tensor, noise: Tensor, model: LatentModel, strength: float | Tensor) -> Tensor:
    """z' ~ N(mu, s Sigma) with the pooled within-class covariance Sigma for every class."""
    factor = model.factors[POOLED]
    return mu + _root(strength, mu) * (noise[:, : factor.shape[1]] @ factor.T)


def diagonal(mu: Tensor, labels: Tensor, noise: Tensor, model: LatentModel, strength: float | Tensor) -> Tensor:
    """z' ~ N(mu, s diag(Sigma_c)): the variance of each latent dimension, without the correlations between them."""
    deviations = model.factors.square().sum(2).sqrt()  # (K + 1, d), the roots of the diagonals of L L^T
    return mu + _root(strength, mu) * deviations[labels] * noise


def isotropic(mu: Tensor, labels: Tensor, noise: Tensor, model: LatentModel, strength: float | Tensor) -> Tensor:
    """z' ~ N(mu, s tr(Sigma_c) / d I): the same total variance, spread evenly over all directions.

    The paper compares its method with this one.
    """
    deviations = (model.factors.square().sum((1, 2)) / mu.shape[1]).sqrt()  # (K + 1,)
    return mu + _root(strength, mu) * deviations[labels, None] * noise


def class_gaussian(mu: Tensor, labels: Tensor, noise: Tensor, model: LatentModel, strength: float | Tensor) -> Tensor:
    """z' ~ N(mean_c, s Sigma_c): a new sample of the class that ignores the image (BAGAN, IDA-GAN). Needs labels."""
    return model.means[labels] + _root(strength, mu) * _colour(labels, noise, model)


def interpolate(mu: Tensor, labels: Tensor, noise: Tensor, model: LatentModel, strength: float | Tensor) -> Tensor:
    """z' = mu + min(s, 1) u (mu_j - mu), u ~ U(0, 1), where j is another image of the class in the batch.

    At s = 1 this is SMOTE. The first column of the noise determines u, and the last one chooses the partner j. Without
    a partner, z' = mu. Needs labels.
    """
    partner = _partner(labels[:, None] == labels, noise[:, -1])
    step = torch.as_tensor(strength, dtype=mu.dtype, device=mu.device).clamp(max=1) * _uniform(noise[:, 0])
    return mu + step[:, None] * (mu[partner] - mu)


def pairs(mu: Tensor, labels: Tensor, noise: Tensor, model: LatentModel, strength: float | Tensor) -> Tensor:
    """z' = mu + sqrt(s / 2) (mu_j - mu_k), where j and k are two other images of one class in the batch.

    It is the class of the image, if the batch has two others of it. Otherwise, it is another class, so that a rare
    class borrows the variation of the common ones (feature transfer, Yin et al. 2019, arXiv 1803.09014). The step has
    the covariance s Sigma of the class, and no distribution is assumed. The last two columns of the noise choose j and
    k. Without any two others of one class, z' = mu. Needs labels.
    """
    alike = labels[:, None] == labels
    pairable = alike.sum(0) > 1
    allowed = torch.where((alike.sum(1) > 2)[:, None], alike, ~alike & pairable)
    first = _partner(allowed, noise[:, -1])
    rest = alike[first].scatter(1, first[:, None], False)
    second = _partner(rest, noise[:, -2])
    step = torch.where(allowed.any(1)[:, None], mu[first] - mu[second], 0.0)
    return mu + _root(strength, mu) * 0.5**0.5 * step


PERTURBATIONS: dict[str, Perturbation] = {
    "covariance": covariance,
    "pooled": pooled,
    "diagonal": diagonal,
    "isotropic": isotropic,
    "class-gaussian": class_gaussian,
    "interpolate": interpolate,
    "pairs": pairs,
}
NEEDS_LABELS = ("class-gaussian", "interpolate", "pairs")
NEEDS_OTHERS = ("interpolate", "pairs")  # whose result depends on the other images of the batch


def _colour(labels: Tensor, noise: Tensor, model: LatentModel) -> Tensor:
    """Turn white noise (N, d) into noise with the covariance of each label's class."""
    factors = model.factors  # (K + 1, d, r)
    noise = noise[:, : factors.shape[2]]
    if len(factors) > len(noise):
        return torch.einsum("nij,nj->ni", factors[labels], noise)
    # With few classes, those of all classes are much faster than a copy of the factor for every image.
    every = (noise @ factors.flatten(0, 1).mT).unflatten(1, factors.shape[:2])
    return every[torch.arange(len(labels), device=labels.device), labels]


def _uniform(noise: Tensor) -> Tensor:
    """Standard normal numbers => uniform ones in (0, 1)."""
    return torch.special.ndtr(noise)


def _partner(allowed: Tensor, noise: Tensor) -> Tensor:
    """For each row of ``allowed`` (N, N), the index of another allowed row, chosen by the noise (N,), or its own."""
    n = len(allowed)
    others = allowed & ~torch.eye(n, dtype=torch.bool, device=allowed.device)
    count = others.sum(1)
    wanted = (_uniform(noise) * count).long().minimum((count - 1).clamp(min=0)) + 1
    found = others & (others.cumsum(1) == wanted[:, None])
    own = torch.arange(n, device=allowed.device)
    return torch.where(count > 0, found.int().argmax(1), own) if n else own


def _root(strength: float | Tensor, mu: Tensor) -> Tensor:
    # s scales the covariance, so its square root scales the step. The result is (N, 1) or ().
    root = torch.as_tensor(strength, dtype=mu.dtype, device=mu.device).sqrt()
    return root[:, None] if root.ndim else root
