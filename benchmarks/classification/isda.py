"""Implicit semantic data augmentation: a loss on features (Wang et al. 2019, arXiv 1909.12220)."""

import torch
from torch import Tensor


class ISDA(torch.nn.Module):
    """An upper bound of the expected cross-entropy over draws f' ~ N(f, lambda Sigma_y) of a feature.

    The mean and the (biased) covariance of each class are updated with all features seen so far, without gradient.

    Args:
        num_classes, dim: K, and A, the length of a feature.
        device: the device of the features.
    """

    count: Tensor
    mean: Tensor
    covariance: Tensor

    def __init__(self, num_classes: int, dim: int, device: torch.device) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(num_classes, device=device))
        self.register_buffer("mean", torch.zeros(num_classes, dim, device=device))
        self.register_buffer("covariance", torch.zeros(num_classes, dim, dim, device=device))

    @torch.no_grad()
    def update(self, features: Tensor, labels: Tensor) -> None:
        """Update the statistics with a batch of features (B, A) and labels (B,).

        Sigma <- (n Sigma + m Sigma_B) / (n + m) + n m / (n + m)^2 (mean - mean_B)(mean - mean_B)^T.
        """
        member = torch.nn.functional.one_hot(labels, len(self.count)).float()  # (B, K)
        m, n = member.sum(0), self.count
        mean = member.T @ features / m.clamp(min=1)[:, None]
        centred = member.T[:, :, None] * (features - mean[:, None])  # (K, B, A)
        total = (n + m).clamp(min=1)
        old, new = (n / total)[:, None, None], (m / total)[:, None, None]
        delta = self.mean - mean
        covariance = centred.mT @ centred / m.clamp(min=1)[:, None, None]
        self.covariance = old * self.covariance + new * covariance + old * new * delta[:, :, None] * delta[:, None]
        self.mean = old[..., 0] * self.mean + new[..., 0] * mean
        self.count = n + m

    def logits(self, logits: Tensor, labels: Tensor, weight: Tensor, strength: float) -> Tensor:
        """Return y_j + lambda / 2 (w_j - w_y)^T Sigma_y (w_j - w_y).

        Args:
            logits: y, (B, K).
            labels: (B,).
            weight: w of the layer that computed the logits, (K, A).
            strength: lambda.
        """
        apart = weight - weight[:, None]  # (K, K, A): [y, j] = w_j - w_y
        table = ((apart @ self.covariance) * apart).sum(2)
        return logits + strength / 2 * table[labels]
