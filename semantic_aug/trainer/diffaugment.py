"""Differentiable augmentation of all images that D sees, real or generated (Zhao et al. 2020, arXiv 2006.10738)."""

import torch
from torch import Tensor
from torch.nn.functional import pad

SHIFT = 1 / 8  # largest translation, as a fraction of the size
CUTOUT = 1 / 2  # side of the square that is set to 0, as a fraction of the size
UNIFORMS = 5  # random numbers in [0, 1) for each image


def diffaugment(images: Tensor, uniform: Tensor) -> Tensor:
    """Change the brightness of each image, translate it and cut out a square: (N, C, S, S), (N, 5) => (N, C, S, S)."""
    size = images.shape[-1]
    images = images + (uniform[:, 0] - 0.5)[:, None, None, None]
    images = _translate(images, ((uniform[:, 1:3] * 2 - 1) * size * SHIFT).round().long())
    return images * _cutout_mask(uniform[:, 3:5], size).to(images.dtype)


def _translate(images: Tensor, shifts: Tensor) -> Tensor:
    n, _, size, _ = images.shape
    # Positions beyond the border fall on a frame of zeros.
    positions = (torch.arange(1, size + 1, device=images.device) + shifts[..., None]).clamp(0, size + 1)
    rows, columns = positions[:, 0, :, None], positions[:, 1, None, :]
    batch = torch.arange(n, device=images.device)[:, None, None]
    return pad(images, (1, 1, 1, 1)).permute(0, 2, 3, 1)[batch, rows, columns].permute(0, 3, 1, 2)


def _cutout_mask(centres: Tensor, size: int) -> Tensor:
    positions = torch.arange(size, device=centres.device) + 0.5
    outside = (positions - (centres * size)[..., None]).abs() > size * CUTOUT / 2  # (N, 2, S)
    return (outside[:, 0, :, None] | outside[:, 1, None, :])[:, None]
