"""Perturbations of a latent: pure functions of (mu, labels, noise, statistics, strength, shrinkage, rank).

``mu`` (N, d) are latents of images, ``labels`` (N,) their class indices (``POOLED`` = -1 where a class is not known),
``noise`` r (N, d) standard normal numbers, ``strength`` s >= 0 a float or (N,), ``rank`` how many leading directions of
each covariance are kept (None: all). The result is z' (N, d). A row of it depends on the same row of the arguments
alone; "interpolate" excepted, which needs the other rows.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from semantic_aug.model.statistics import POOLED, ClassStatistics, Shrinkage

Perturbation = Callable[[Tensor, Tensor, Tensor, ClassStatistics, float | Tensor, Shrinkage, int | None], Tensor]


def covariance(
    mu: Tensor, labels: Tensor, noise: Tensor, statistics: ClassStatistics, strength: float | Tensor,
    shrinkage: Shrinkage = "oas", rank: int | None = None,
) -> Tensor:  # fmt: skip
    """z' ~ N(mu, s Sigma_c) (Eq. 4): z' = mu + sqrt(s) L_c r with L_c L_c^T = Sigma_c."""
    return mu + _root(strength, mu) * _coloured(labels, noise, statistics, shrinkage, rank)


def pooled(
    mu: Tensor, labels: Tensor, noise: Tensor, statistics: ClassStatistics, strength: float | Tensor,
    shrinkage: Shrinkage = "oas", rank: int | None = None,
) -> Tensor:  # fmt: skip
    """z' ~ N(mu, s Sigma) with the pooled within-class covariance Sigma for every class."""
    factor = statistics.factors(shrinkage, rank, mu.device)[POOLED]
    return mu + _root(strength, mu) * (noise[:, : factor.shape[1]] @ factor.T)


def diagonal(
    mu: Tensor, labels: Tensor, noise: Tensor, statistics: ClassStatistics, strength: float | Tensor,
    shrinkage: Shrinkage = "oas", rank: int | None = None,
) -> Tensor:  # fmt: skip
    """z' ~ N(mu, s diag(Sigma_c)): the variance of each latent dimension, without their correlations."""
    factors = statistics.factors(shrinkage, rank, mu.device)
    deviations = factors.square().sum(2).sqrt()  # (K + 1, d), the roots of the diagonals of L L^T
    return mu + _root(strength, mu) * deviations[labels] * noise


def isotropic(
    mu: Tensor, labels: Tensor, noise: Tensor, statistics: ClassStatistics, strength: float | Tensor,
    shrinkage: Shrinkage = "oas", rank: int | None = None,
) -> Tensor:  # fmt: skip
    """z' ~ N(mu, s tr(Sigma_c) / d I): the same total variance in every direction, the paper's straw man."""
    factors = statistics.factors(shrinkage, rank, mu.device)
    deviations = (factors.square().sum((1, 2)) / mu.shape[1]).sqrt()  # (K + 1,)
    return mu + _root(strength, mu) * deviations[labels, None] * noise


def class_gaussian(
    mu: Tensor, labels: Tensor, noise: Tensor, statistics: ClassStatistics, strength: float | Tensor,
    shrinkage: Shrinkage = "oas", rank: int | None = None,
) -> Tensor:  # fmt: skip
    """z' ~ N(mean_c, s Sigma_c): a new sample of the class, whatever the image (BAGAN, IDA-GAN). Needs labels."""
    means = statistics.mean.to(mu)[labels]
    return means + _root(strength, mu) * _coloured(labels, noise, statistics, shrinkage, rank)


def interpolate(
    mu: Tensor, labels: Tensor, noise: Tensor, statistics: ClassStatistics, strength: float | Tensor,
    shrinkage: Shrinkage = "oas", rank: int | None = None,
) -> Tensor:  # fmt: skip
    """z' = mu + min(s, 1) u (mu_j - mu), u ~ U(0, 1), j another image of the class in the batch (SMOTE at s = 1).

    u and the partner come from the first and the last column of the noise. Without a partner z' = mu. Needs labels.
    """
    n = len(mu)
    if not n:
        return mu.clone()
    uniform = torch.special.ndtr(noise)  # standard normal => uniform in (0, 1)
    others = (labels[:, None] == labels) & ~torch.eye(n, dtype=torch.bool, device=mu.device)
    count = others.sum(1)
    wanted = (uniform[:, -1] * count).long().minimum((count - 1).clamp(min=0)) + 1
    partner = (others & (others.cumsum(1) == wanted[:, None])).int().argmax(1)
    step = torch.as_tensor(strength, dtype=mu.dtype, device=mu.device).clamp(max=1) * uniform[:, 0] * (count > 0)
    return mu + step[:, None] * (mu[partner] - mu)


PERTURBATIONS: dict[str, Perturbation] = {
    "covariance": covariance,
    "pooled": pooled,
    "diagonal": diagonal,
    "isotropic": isotropic,
    "class-gaussian": class_gaussian,
    "interpolate": interpolate,
}
NEEDS_LABELS = ("class-gaussian", "interpolate")


def _coloured(
    labels: Tensor, noise: Tensor, statistics: ClassStatistics, shrinkage: Shrinkage, rank: int | None
) -> Tensor:
    factors = statistics.factors(shrinkage, rank, noise.device)[labels]
    return torch.einsum("nij,nj->ni", factors, noise[:, : factors.shape[2]])


def _root(strength: float | Tensor, mu: Tensor) -> Tensor:
    # s scales the covariance, so its root scales the step; (N, 1) or ().
    root = torch.as_tensor(strength, dtype=mu.dtype, device=mu.device).sqrt()
    return root[:, None] if root.ndim else root
