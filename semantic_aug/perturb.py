"""Perturbations of a latent: pure functions of (mu, labels, noise, statistics, strength).

``mu`` (N, d) are latents of images, ``labels`` (N,) their class indices (``POOLED`` = -1 where a class is not known),
``noise`` (N, d) standard normal numbers, ``strength`` s >= 0 a float or (N,). The result is z' (N, d).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from semantic_aug.statistics import POOLED, ClassStatistics, Shrinkage

Perturbation = Callable[[Tensor, Tensor, Tensor, ClassStatistics, float | Tensor, Shrinkage], Tensor]


def covariance(
    mu: Tensor, labels: Tensor, noise: Tensor, statistics: ClassStatistics, strength: float | Tensor,
    shrinkage: Shrinkage = "oas",
) -> Tensor:  # fmt: skip
    """z' ~ N(mu, s Sigma_c) (Eq. 4): z' = mu + sqrt(s) L_c r with L_c L_c^T = Sigma_c."""
    factors = statistics.factors(shrinkage, device=mu.device)[labels]
    return mu + _scaled(_multiply(factors, noise), strength)


def pooled(
    mu: Tensor, labels: Tensor, noise: Tensor, statistics: ClassStatistics, strength: float | Tensor,
    shrinkage: Shrinkage = "oas",
) -> Tensor:  # fmt: skip
    """z' ~ N(mu, s Sigma) with the pooled within-class covariance Sigma for every class."""
    factor = statistics.factors(shrinkage, device=mu.device)[POOLED]
    return mu + _scaled(noise @ factor.T, strength)


PERTURBATIONS: dict[str, Perturbation] = {"covariance": covariance, "pooled": pooled}


def _multiply(factors: Tensor, noise: Tensor) -> Tensor:
    return torch.einsum("nij,nj->ni", factors, noise)


def _scaled(direction: Tensor, strength: float | Tensor) -> Tensor:
    # s scales the covariance, so its root scales the step.
    scale = torch.as_tensor(strength, dtype=direction.dtype, device=direction.device).sqrt()
    return direction * (scale[:, None] if scale.ndim else scale)
