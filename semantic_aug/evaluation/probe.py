"""A linear probe: how well a linear classifier predicts the class from latents (Alain and Bengio, arXiv 1610.01644)."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from semantic_aug.evaluation.estimate import Estimate, balanced_mean, mean

PENALTY = 1.0  # weight of half the squared weights relative to the sum of the losses, like scikit-learn's 1 / C
STEPS = 300


@dataclass(frozen=True, kw_only=True)
class Probe:
    """The performance on held-out latents of a linear classifier trained on the latents of ``images`` training images.

    ``accuracy`` is the fraction that it gets right, and ``balanced`` is the mean recall of the held-out classes.
    """

    images: int
    accuracy: Estimate
    balanced: Estimate


def linear_probe(latents: Tensor, labels: Tensor, held_out: Tensor, held_out_labels: Tensor) -> Probe:
    """Train on latents (N, d) with labels (N,), and measure on held-out latents (M, d) with labels (M,)."""
    latents, held_out = latents.cpu().double(), held_out.cpu().double()
    labels, held_out_labels = labels.cpu(), held_out_labels.cpu()
    deviation, centre = torch.std_mean(latents, dim=0, correction=0)
    deviation = torch.where(deviation > 0, deviation, 1.0)  # a constant dimension carries no information

    def standardise(x: Tensor) -> Tensor:
        return (x - centre) / deviation

    weight, bias = logistic_regression(standardise(latents), labels)
    right = (standardise(held_out) @ weight.T + bias).argmax(1) == held_out_labels
    return Probe(images=len(latents), accuracy=mean(right), balanced=balanced_mean(right, held_out_labels))


def logistic_regression(x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (K, d) and biases (K,) that minimise the cross-entropy of x (N, d), float64, plus ``PENALTY``."""
    parameters = torch.zeros(int(labels.max()) + 1, x.shape[1] + 1, dtype=x.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [parameters], max_iter=STEPS, tolerance_grad=1e-6, tolerance_change=1e-10, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        logits = x @ parameters[:, :-1].T + parameters[:, -1]
        total = cross_entropy(logits, labels) + PENALTY / (2 * len(x)) * parameters[:, :-1].square().sum()
        total.backward()
        return total

    with torch.enable_grad():
        optimizer.step(loss)
    weight, bias = parameters.detach().split([x.shape[1], 1], dim=1)
    return weight, bias.squeeze(1)
