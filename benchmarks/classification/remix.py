"""ReMix: MixUp whose labels lean to the rarer class (Chou et al. 2020, arXiv 2007.03943)."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot

KAPPA, TAU = 3.0, 0.5  # the paper's


def remix(images: Tensor, labels: Tensor, partner: Tensor, share: float, counts: Tensor) -> tuple[Tensor, Tensor]:
    """x = lambda x_i + (1 - lambda) x_j and its soft label (B, K).

    The weight of y_i is 0 where n_i / n_j >= kappa and lambda < tau, 1 where n_i / n_j <= 1 / kappa and
    1 - lambda < tau, else lambda.

    Args:
        images, labels: (B, C, H, W) and (B,).
        partner: j of each i, (B,).
        share: lambda.
        counts: n, training images of each class (K,).
    """
    ratio = counts[labels] / counts[labels[partner]]
    weight = torch.full_like(ratio, share)
    if share < TAU:
        weight[ratio >= KAPPA] = 0.0
    if 1 - share < TAU:
        weight[ratio <= 1 / KAPPA] = 1.0
    target = one_hot(labels, len(counts)).to(images.dtype)
    return images.lerp(images[partner], 1 - share), torch.lerp(target[partner], target, weight[:, None])
