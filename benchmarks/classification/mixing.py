"""ReMix and CMO, which mix images and their labels. MixUp and CutMix come from torchvision."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot

KAPPA, TAU = 3.0, 0.5  # of ReMix


def remix(images: Tensor, labels: Tensor, partner: Tensor, share: float, counts: Tensor) -> tuple[Tensor, Tensor]:
    """MixUp with labels that favour the rarer class (ReMix, Chou et al. 2020, arXiv 2007.03943).

    Returns x = lambda x_i + (1 - lambda) x_j and its soft label (B, K). The weight of y_i is 0 if n_i / n_j >= kappa
    and lambda < tau. It is 1 if n_i / n_j <= 1 / kappa and 1 - lambda < tau. Otherwise it is lambda.

    Args:
        images, labels: (B, C, H, W) and (B,).
        partner: the index j for each i, (B,).
        share: lambda.
        counts: n, the number of training images of each class (K,).
    """
    ratio = counts[labels] / counts[labels[partner]]
    weight = torch.full_like(ratio, share)
    if share < TAU:
        weight[ratio >= KAPPA] = 0.0
    if 1 - share < TAU:
        weight[ratio <= 1 / KAPPA] = 1.0
    target = one_hot(labels, len(counts)).to(images.dtype)
    return images.lerp(images[partner], 1 - share), torch.lerp(target[partner], target, weight[:, None])


def paste(images: Tensor, foreground: Tensor, share: float, centre: tuple[float, float]) -> tuple[Tensor, float]:
    """Paste a box of ``foreground`` onto ``images``, both (B, C, H, W), like CutMix (arXiv 1905.04899).

    The box is centred at ``centre``, (vertical, horizontal) in [0, 1). It covers the fraction 1 - ``share`` of the
    area, and is clipped at the border. Returns the mixed images and the fraction of the area that still shows
    ``images``.
    """
    height, width = images.shape[-2:]
    spans = []
    for size, place in ((height, centre[0]), (width, centre[1])):
        half = int(size * (1 - share) ** 0.5) // 2
        middle = int(place * size)
        spans.append(slice(max(middle - half, 0), min(middle + half, size)))
    rows, columns = spans
    mixed = images.clone()
    mixed[..., rows, columns] = foreground[..., rows, columns]
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    return mixed, 1 - area / (height * width)
