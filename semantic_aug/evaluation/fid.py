"""How far generated images are from real ones, measured between features of a network.

The usual network, Inception, has to be downloaded. The networks used here are the trunk of LPIPS and the judge. Values
can be compared only if they come from the same network, the same real images and the same number of them.
"""

import torch
from torch import Tensor

from semantic_aug._random import seeded
from semantic_aug.evaluation.lpips import WEIGHTS, Perceptual

SUBSETS, SUBSET = 50, 1000  # draws of the KID, images of each kind in a draw
LEAST = 4  # images: two of each kind


def distances(real: Tensor, generated: Tensor, seed: int) -> dict[str, float]:
    """``fid``, ``kid_mean`` and ``kid_std`` (over subsets) between features (N, F) and (N, F) of the same N images.

    The two sides of a comparison are always disjoint halves of the N images, drawn with ``seed``. Image i of one side
    may be made from image i of the other, and such pairs would look like realism. So ``distances(x, x)`` is the
    distance between real images: a KID of 0 up to chance, and the bias of the FID at this number of images.
    Raises ValueError for fewer than 4 images.
    """
    n, _ = real.shape
    if n < LEAST or generated.shape != real.shape:
        raise ValueError(
            f"expected features of {LEAST} or more images, got {tuple(real.shape)} real ones, "
            f"{tuple(generated.shape)} generated ones"
        )
    half = torch.randperm(n, generator=seeded(seed, "fid"))
    m = min(SUBSET, n // 2)
    draws = [torch.randperm(n, generator=seeded(seed, "kid", draw)) for draw in range(SUBSETS)]
    kids = torch.stack([kid(real[draw[:m]], generated[draw[m : 2 * m]]) for draw in draws])
    return {
        "fid": float(fid(real[half[: n // 2]], generated[half[n // 2 : n // 2 * 2]])),
        "kid_mean": float(kids.mean()),
        "kid_std": float(kids.std(correction=0)),
    }


def fid(x: Tensor, y: Tensor) -> Tensor:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) of features (N, F), (M, F) (Heusel et al. 2017, arXiv 1706.08500)."""
    x, y = x.cpu().double(), y.cpu().double()  # in this order, because not every device has float64
    r1, r2 = root_of_covariance(x), root_of_covariance(y)
    # With C = R^T R, the eigenvalues of C1 C2 are those of (R1 R2^T) (R1 R2^T)^T, so their roots are singular values.
    # Where it should be 0, the root of an eigenvalue is off by 1e-8 of the covariance, and a singular value by 1e-16.
    roots = torch.linalg.svdvals(r1 @ r2.T)
    return (x.mean(0) - y.mean(0)).square().sum() + r1.square().sum() + r2.square().sum() - 2 * roots.sum()


def root_of_covariance(x: Tensor) -> Tensor:
    """R (min(N, F), F), where R^T R is the unbiased covariance of features (N, F), which is not computed."""
    return torch.linalg.qr(x - x.mean(0), mode="r").R / (len(x) - 1) ** 0.5


def kid(x: Tensor, y: Tensor) -> Tensor:
    """Unbiased MMD^2 of features (N, F), (M, F) under k(a, b) = (a.b / F + 1)^3 (Binkowski et al. 2018, 1801.01401)."""
    x, y = x.cpu().double(), y.cpu().double()
    (n, f), (m, _) = x.shape, y.shape

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / f + 1) ** 3

    k_xx, k_yy = kernel(x, x), kernel(y, y)
    within = (k_xx.sum() - k_xx.trace()) / (n * (n - 1)) + (k_yy.sum() - k_yy.trace()) / (m * (m - 1))
    return within - 2 * kernel(x, y).mean()


def trunk_name(perceptual: Perceptual) -> str:
    """torchvision's name of the network whose features ``trunk_features`` returns, such as "squeezenet1_1"."""
    return WEIGHTS[perceptual.metric.pnet_type].split("-")[0]


def trunk_features(perceptual: Perceptual, images: Tensor) -> Tensor:
    """Images (N, 1 or 3, H, W) in [-1, 1] => means over positions of the last layer of LPIPS's trunk (N, F)."""
    metric = perceptual.metric
    return metric.net(metric.scaling_layer(images.expand(-1, 3, -1, -1)))[-1].mean((2, 3))
