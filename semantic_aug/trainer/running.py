"""Class statistics of the latents while E is learning, from which training draws before the final ones are known."""

import torch
from torch import Tensor, nn

from semantic_aug import _distributed

JITTER = 1e-3  # fraction of the mean variance added to every direction, in case there are fewer images than dimensions


class RunningStatistics(nn.Module):
    """Exponential sums over the latents of recent images by class. It is a module so that a state saves its buffers.

    Covariances are shrunk as in ``ClassStatistics.covariance(label, "pooled")``. The class's own covariance has the
    weight n_c / (n_c + d), where n_c is the number of images of the class that are remembered.
    """

    count: Tensor
    total: Tensor
    outer: Tensor

    def __init__(self, num_classes: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(num_classes))
        self.register_buffer("total", torch.zeros(num_classes, dim))
        self.register_buffer("outer", torch.zeros(num_classes, dim, dim))

    @torch.no_grad()
    def update(self, mu: Tensor, labels: Tensor, decay: float) -> None:
        """Add the latents (n, d) of this process's share of a batch and those of the other processes. Old ones fade."""
        member = nn.functional.one_hot(labels, len(self.count)).to(mu)
        sums = [member.sum(0), member.T @ mu, torch.einsum("nk,ni,nj->kij", member, mu, mu)]
        added = _distributed.sum_over_processes(torch.cat([each.flatten() for each in sums]))
        for buffer, new in zip(
            (self.count, self.total, self.outer), added.split([s.numel() for s in sums]), strict=True
        ):
            buffer.mul_(decay).add_(new.view_as(buffer))

    @torch.no_grad()
    def covariance(self, labels: Tensor) -> Tensor:
        """Shrunk covariances of the classes of ``labels`` (n,): (n, d, d)."""
        count, dim = self.count.clamp(min=1e-6), self.total.shape[1]
        mean = self.total / count[:, None]
        pooled = (self.outer.sum(0) - self.total.T @ mean) / count.sum()
        n, mean = count[labels, None, None], mean[labels]
        own = self.outer[labels] / n - mean[:, :, None] * mean[:, None, :]
        return torch.lerp(pooled.expand_as(own), own, n / (n + dim))

    @torch.no_grad()
    def step(self, labels: Tensor, noise: Tensor) -> Tensor:
        """L_c r of Eq. 4: turn standard normal numbers (n, m, d), m for each of n labels, into N(0, Sigma_c)."""
        classes, index = labels.unique(return_inverse=True)  # so that each class is factorised once
        covariance = self.covariance(classes)
        variance = covariance.diagonal(dim1=1, dim2=2)
        variance += JITTER * variance.mean(1, keepdim=True) + 1e-6
        return noise @ torch.linalg.cholesky(covariance)[index].mT
