"""The bases of the benchmark. A base handles class imbalance, by the order of the images or by the loss.

Post-hoc logit adjustment is not a base, because it only changes the predictions of a trained network. ``measure``
evaluates every run with and without it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from semantic_aug.data.orders import BalancedOrder, EndlessOrder

BETA = 0.9999  # of the class-balanced weights
DEFERRED = 0.8  # fraction of the training after which "drw" starts to weight the classes

# Logits (B, K), labels (B,) or soft labels (B, K), and the progress of the training in [0, 1) => a scalar.
Loss = Callable[[Tensor, Tensor, float], Tensor]


@dataclass(frozen=True)
class Base:
    """One way to handle imbalance.

    Attributes:
        summary: a description for --help.
        order: labels (N,) and seed => an endless stream of indices.
        loss: number of images of each class (K,), float => the loss.
    """

    summary: str
    order: Callable[[Tensor, int], EndlessOrder]
    loss: Callable[[Tensor], Loss]


def draw_natural(labels: Tensor, seed: int) -> EndlessOrder:
    """Draw every image once per epoch."""
    return EndlessOrder(len(labels), seed)


def plain_loss(counts: Tensor) -> Loss:
    """Cross-entropy."""
    return lambda logits, targets, progress: cross_entropy(logits, targets)


def logit_adjusted_loss(counts: Tensor) -> Loss:
    """Cross-entropy of f_y(x) + log prior_y, also known as the balanced softmax.

    Menon et al. 2021 (arXiv 2007.07314), equation 10 with tau 1; Ren et al. 2020 (arXiv 2007.10740), equation 3.
    """
    log_prior = log_priors(counts)
    return lambda logits, targets, progress: cross_entropy(logits + log_prior, targets)


def deferred_loss(counts: Tensor) -> Loss:
    """Cross-entropy with class weights in the last fifth of the training (DRW, Cao et al. 2019, arXiv 1906.07413)."""
    weight = class_balanced_weights(counts)
    return lambda logits, targets, progress: cross_entropy(logits, targets, weight if progress >= DEFERRED else None)


def class_balanced_weights(counts: Tensor) -> Tensor:
    """(1 - beta) / (1 - beta^n) of each class (K,), scaled to mean 1 (Cui et al. 2019, arXiv 1901.05555)."""
    weight = (1 - BETA) / (1 - BETA ** counts.double())
    return (weight / weight.mean()).to(counts.dtype)


def log_priors(counts: Tensor | Sequence[int]) -> Tensor:
    """Logarithm of each class's fraction of the training images (K,)."""
    counts = torch.as_tensor(counts, dtype=torch.float32 if not isinstance(counts, Tensor) else counts.dtype)
    return (counts / counts.sum()).log()


BASES = {
    "natural": Base("cross-entropy, every image once per epoch", draw_natural, plain_loss),
    "logit-adjusted": Base(
        "cross-entropy of logits plus log priors (balanced softmax)", draw_natural, logit_adjusted_loss
    ),
    "balanced": Base("cross-entropy, every class equally often", BalancedOrder, plain_loss),
    "drw": Base("cross-entropy, class-balanced weights in the last fifth", draw_natural, deferred_loss),
}
