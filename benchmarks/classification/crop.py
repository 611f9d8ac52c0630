"""The base augmentation that every arm gets: a random flip and a shift by up to a twelfth of the size."""

import torch
from torch import Tensor

SHIFT = 1 / 12  # of the size


def flip_crop(images: Tensor, uniform: Tensor) -> Tensor:
    """Mirror half of the images (N, C, S, S), and shift each by up to ``SHIFT`` of its size. Edges are repeated.

    ``uniform`` (N, 3) has three numbers in [0, 1) for each image. They determine the vertical shift, the horizontal
    shift, and whether the image is mirrored.
    """
    n, _, size, _ = images.shape
    shifts = ((uniform[:, :2] * 2 - 1) * size * SHIFT).round().long()
    positions = (torch.arange(size, device=images.device) + shifts[..., None]).clamp(0, size - 1)  # (N, 2, S)
    columns = torch.where(uniform[:, 2:] < 0.5, positions[:, 1].flip(1), positions[:, 1])
    rows, columns = positions[:, 0, :, None], columns[:, None, :]
    numbers = torch.arange(n, device=images.device)[:, None, None]
    return images.permute(0, 2, 3, 1)[numbers, rows, columns].permute(0, 3, 1, 2)
