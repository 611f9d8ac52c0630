"""SMOTE between latents: z' = z_i + u (z_j - z_i), where z_j is one of the k nearest latents of the same class.

Chawla et al. 2002.
"""

import torch
from torch import Tensor

ROWS = 1024  # latents whose distances to all latents of their class are in memory at a time


def neighbours(latents: Tensor, labels: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Indices (N, k) of each latent's nearest neighbours in its class, nearest first, and their number (N,).

    In a class of m <= k images, a latent has m - 1 neighbours. The rest of its row is filled with its own index.
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
    """Move each latent toward one of its neighbours. A latent without neighbours does not move.

    Args:
        z: latents (B, d).
        candidates: latents of the neighbours (B, k, d).
        count: number of neighbours of each latent (B,). Only the first ``count`` candidates can be drawn.
        uniform: two numbers in [0, 1) for each latent, (B, 2). They determine the neighbour and u.
    """
    chosen = (uniform[:, 0] * count).long()
    partner = candidates[torch.arange(len(z), device=z.device), chosen]
    return z + uniform[:, 1:] * (partner - z)
