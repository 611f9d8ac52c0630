"""SMOTE between latents: z' = z_i + u (z_j - z_i), j one of the k nearest of the class (Chawla et al. 2002)."""

import torch
from torch import Tensor

ROWS = 1024  # distances that are held at a time: ROWS x images of a class


def neighbours(latents: Tensor, labels: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Indices (N, k) of the nearest others of each latent's class, nearest first, and how many there are (N,).

    A class of m <= k images has m - 1 of them; what is left of the row is the latent's own index.
    """
    table = torch.arange(len(latents), device=latents.device)[:, None].repeat(1, k)
    count = torch.zeros_like(labels)
    for label in labels.unique().tolist():
        members = (labels == label).nonzero().flatten()
        found = min(k, len(members) - 1)
        count[members] = found
        for part in members.split(ROWS):
            distance = torch.cdist(latents[part], latents[members])
            distance[part[:, None] == members] = torch.inf
            table[part, :found] = members[distance.topk(found, largest=False).indices]
    return table, count


def smote(z: Tensor, candidates: Tensor, count: Tensor, uniform: Tensor) -> Tensor:
    """Latents (B, d) moved toward a neighbour; one without any stays.

    Args:
        z: (B, d).
        candidates: latents of the neighbours (B, k, d), of which the first ``count`` (B,) are to be drawn from.
        uniform: two numbers in [0, 1) for each, (B, 2): which neighbour, and u.
    """
    chosen = (uniform[:, 0] * count).long()
    partner = candidates[torch.arange(len(z), device=z.device), chosen]
    return z + uniform[:, 1:] * (partner - z)
