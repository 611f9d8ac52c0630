"""Per-class statistics of the latents: count, mean and covariance, streamed and merged exactly in float64."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

Shrinkage = Literal["oas", "pooled"] | float | None

MAX_COUNT = 10**12  # images of a class
MAX_LATENT = 1e4  # in training, latents have a variance near 1
EPSILON, TINY = 2.0**-23, 1e-12  # of float32; a variance far below that of any latent
PART = 32  # classes whose statistics are checked at a time, to bound the memory
POOLED = -1  # the label that selects the pooled within-class covariance


class ClassStatistics:
    """Count, mean and scatter of the latents of each class.

    Args:
        num_classes: K, at least 1.
        dim: d, the length of a latent, at least 1.

    Attributes:
        count: number of images of each class, int64 (K,).
        mean: mean of each class, float64 (K, d).
        scatter: sum over each class of (mu - mean)(mu - mean)^T, float64 (K, d, d). Covariances are computed when they
            are read, so that the shrinkage can be chosen later.

    Example::

        statistics = ClassStatistics(num_classes=2, dim=8)
        statistics.update(torch.randn(50, 8), torch.arange(50) % 2)
        covariance = statistics.covariance(0)  # (8, 8), float64
        variances, vectors = statistics.directions(0)  # (8,) and (8, 8)
    """

    @torch.inference_mode(False)  # because the tensors are updated in place
    def __init__(self, num_classes: int, dim: int) -> None:
        if num_classes < 1 or dim < 1:
            raise ValueError(f"num_classes and dim must be at least 1, got {num_classes} and {dim}")
        self.num_classes = num_classes
        self.dim = dim
        self.count = torch.zeros(num_classes, dtype=torch.int64, device="cpu")
        self.mean = torch.zeros(num_classes, dim, dtype=torch.float64, device="cpu")
        self.scatter = torch.zeros(num_classes, dim, dim, dtype=torch.float64, device="cpu")

    def __repr__(self) -> str:
        return f"ClassStatistics(num_classes={self.num_classes}, dim={self.dim}, images={int(self.count.sum())})"

    def update(self, mu: Tensor, labels: Tensor) -> None:
        """Add latents ``mu`` (N, d) of any float dtype and device, with their class indices ``labels`` (N,)."""
        n, d = mu.shape
        if d != self.dim or labels.shape != (n,):
            raise ValueError(
                f"expected mu (N, {self.dim}) and labels (N,), got {tuple(mu.shape)} and {tuple(labels.shape)}"
            )
        labels = labels.cpu()
        if n and (labels.min() < 0 or labels.max() >= self.num_classes):
            found = f"{int(labels.min())}..{int(labels.max())}"
            raise ValueError(f"labels must lie in 0..{self.num_classes - 1}, got {found}")
        mu = mu.detach().cpu().double()  # in this order, because not every device has float64
        if not mu.isfinite().all():
            raise ValueError("latents must be finite, got NaN or infinity: the encoder has diverged")
        for label in labels.unique().tolist():
            members = mu[labels == label]
            mean = members.mean(0)
            moved = self._add(label, len(members), mean)
            rows = torch.cat([members - mean, moved[None]])
            self.scatter[label].addmm_(rows.T, rows)  # in place, since memory traffic dominates with many classes

    def merge(self, other: "ClassStatistics") -> None:
        """Add the statistics of other images of the same classes, as if ``update`` had seen them here."""
        if (self.num_classes, self.dim) != (other.num_classes, other.dim):
            raise ValueError(
                f"cannot merge statistics of {other.num_classes} classes x {other.dim} dimensions "
                f"into {self.num_classes} x {self.dim}"
            )
        for label, count in enumerate(other.count.tolist()):
            if count:
                moved = self._add(label, count, other.mean[label])
                self.scatter[label] += other.scatter[label]
                self.scatter[label].addr_(moved, moved)

    def _add(self, label: int, count: int, mean: Tensor) -> Tensor:
        """Update count and mean. Returns the vector (d,) whose outer product is the scatter between the two means.

        This is the method of Chan, Golub and LeVeque (1979). It is exact for any split, and loses no digits if
        |mean| >> std.
        """
        old = int(self.count[label])
        total = old + count
        delta = mean - self.mean[label]
        self.mean[label] += delta * (count / total)
        self.count[label] = total
        return delta * math.sqrt(old * count / total)

    def covariance(self, label: int, shrinkage: Shrinkage = "oas") -> Tensor:
        """Covariance (d, d) of one class, float64, biased (divided by n) and shrunk. ``POOLED`` gives the pooled one.

        ``shrinkage`` is one of the following:

        - "oas" shrinks toward a scaled identity (Chen et al. 2010, Eq. 23).
        - "pooled" shrinks toward the pooled within-class covariance with weight d / (n + d). This is the mean of an
          inverse-Wishart posterior whose prior counts as d images.
        - A number in [0, 1] shrinks toward the pooled covariance with that weight.
        - None does not shrink.

        A class with fewer than 2 images gets the pooled covariance. Raises ValueError if no class has 2 images.
        """
        check_shrinkage(shrinkage)
        if label != POOLED:
            self.check_label(label)
        return self._shrink(label, shrinkage, None)

    def _shrink(self, label: int, shrinkage: Shrinkage, pooled: Tensor | None) -> Tensor:
        """Do the same as ``covariance``, with the pooled covariance if the caller already has it."""
        n = int(self.count[label]) if label != POOLED else 0
        if n < 2:
            return (self._pool() if pooled is None else pooled).clone()
        covariance = self.scatter[label] / n
        if shrinkage is None:
            return covariance
        if shrinkage == "oas":
            return _oas(covariance, n)
        weight = self.dim / (n + self.dim) if shrinkage == "pooled" else shrinkage
        return torch.lerp(covariance, self._pool() if pooled is None else pooled, float(weight))

    def check_label(self, label: int) -> None:
        """Raise ValueError unless ``label`` is the index of a class."""
        if not 0 <= label < self.num_classes:
            raise ValueError(f"label must lie in 0..{self.num_classes - 1}, got {label}")

    def _pool(self) -> Tensor:
        known = self.count >= 2
        if not known.any():
            raise ValueError("no class has two images, so no covariance is known; use more images per class")
        return self.scatter[known].sum(0) / self.count[known].sum()

    def balanced(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mean (d,), covariance within a class (d, d) and covariance of the class means (d, d), all float64.

        All classes with images count equally. Covariances within a class are shrunk by "pooled".
        """
        known, pooled = self.count.nonzero().flatten(), self._pool()
        mean = self.mean[known].mean(0)
        away = self.mean[known] - mean
        within = torch.zeros_like(pooled)
        for label in known.tolist():
            within += self._shrink(label, "pooled", pooled) / len(known)
        return mean, within, away.T @ away / len(known)

    def factor(self, label: int, shrinkage: Shrinkage = "oas", rank: int | None = None) -> Tensor:
        """L (d, r), float32, with L L^T = ``covariance(label, shrinkage)``.

        It comes from an eigendecomposition. Column i is the i-th principal direction times its standard deviation, in
        order of decreasing variance. ``rank`` r in 1..d keeps the first r columns (None: all d).
        """
        check_shrinkage(shrinkage)
        if label != POOLED:
            self.check_label(label)
        return self._factor(label, shrinkage, self._checked_rank(rank), None)

    def factors(self, shrinkage: Shrinkage = "oas", rank: int | None = None) -> Tensor:
        """``factor`` of every class, float32 (K + 1, d, r). The pooled one is last, so that ``POOLED`` indexes it."""
        check_shrinkage(shrinkage)
        rank, pooled = self._checked_rank(rank), self._pool()
        labels = [*range(self.num_classes), POOLED]
        return torch.stack([self._factor(label, shrinkage, rank, pooled) for label in labels])

    def _checked_rank(self, rank: int | None) -> int:
        if rank is not None and not 1 <= rank <= self.dim:
            raise ValueError(f"rank must lie in 1..{self.dim} or be None, got {rank}")
        return self.dim if rank is None else rank

    def _factor(self, label: int, shrinkage: Shrinkage, rank: int, pooled: Tensor | None) -> Tensor:
        variances, vectors = _eigen(self._shrink(label, shrinkage, pooled))
        return (vectors[:, :rank] * variances[:rank].sqrt()).float()

    def directions(self, label: int, shrinkage: Shrinkage = "oas") -> tuple[Tensor, Tensor]:
        """Principal directions of ``covariance(label, shrinkage)`` in order of decreasing variance.

        Returns the variances (d,) along them, and unit vectors (d, d), one per column, both float64. The sign of an
        eigenvector is arbitrary and differs between machines, so here the entry of largest magnitude is positive.
        """
        variances, vectors = _eigen(self.covariance(label, shrinkage))
        return variances, vectors * column_signs(vectors)

    def to_tensors(self) -> dict[str, Tensor]:
        """``count`` int64 (K,), ``mean`` float32 (K, d) and ``covariance`` float32 (K, d, d), biased and unshrunk."""
        covariance = self.scatter / self.count.clamp(min=1)[:, None, None]
        return {"count": self.count.clone(), "mean": self.mean.float(), "covariance": covariance.float()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "ClassStatistics":
        """The inverse of ``to_tensors``."""
        num_classes, dim = tensors["mean"].shape
        statistics = cls(num_classes, dim)
        statistics.count = tensors["count"].clone()
        statistics.mean = tensors["mean"].double()
        statistics.scatter = tensors["covariance"].double() * statistics.count[:, None, None]
        return statistics


def problems(tensors: Mapping[str, Tensor]) -> Iterator[str]:
    """Why the tensors of ``ClassStatistics.to_tensors`` cannot be the statistics of latents, if there is a reason."""
    for start in range(0, len(tensors["count"]), PART):
        part = slice(start, start + PART)
        for problem, wrong in _problems(*(tensors[name][part] for name in ("count", "mean", "covariance"))):
            if wrong.any():
                yield f"{problem}, for class {start + int(wrong.nonzero()[0])}"


def _problems(count: Tensor, mean: Tensor, covariance: Tensor) -> Iterator[tuple[str, Tensor]]:
    """What can be wrong with the statistics of k classes, and with which of them it is (k,)."""
    variances = covariance.diagonal(dim1=1, dim2=2)
    # Rounding to float32 moves an eigenvalue by at most d epsilon times the largest variance.
    rounding = covariance.shape[1] * EPSILON * variances.amax(1) + TINY
    yield f"count is not in 0..{MAX_COUNT}", (count < 0) | (count > MAX_COUNT)
    yield f"mean exceeds {MAX_LATENT:g}", mean.abs().amax(1) > MAX_LATENT
    yield f"covariance exceeds {MAX_LATENT**2:g}", covariance.abs().amax((1, 2)) > MAX_LATENT**2
    yield "covariance has negative variances", variances.amin(1) < 0
    yield "covariance is not symmetric", (covariance - covariance.mT).abs().amax((1, 2)) > rounding
    # A symmetric matrix that has a Cholesky factor has no negative eigenvalue. For d = 256, this takes a tenth of the
    # time of the eigenvalues.
    shifted = covariance.double() + torch.diag_embed(rounding.double()[:, None].expand_as(variances))
    yield "covariance has negative eigenvalues", torch.linalg.cholesky_ex(shifted).info != 0


def check_shrinkage(shrinkage: Any) -> None:
    """Raise ValueError unless ``shrinkage`` is one that ``ClassStatistics.covariance`` knows."""
    if shrinkage is None or shrinkage in ("oas", "pooled"):
        return
    if isinstance(shrinkage, int | float) and not isinstance(shrinkage, bool) and 0 <= shrinkage <= 1:
        return
    raise ValueError(f'shrinkage must be "oas", "pooled", None or a number in [0, 1], got {shrinkage!r}')


def column_signs(vectors: Tensor) -> Tensor:
    """(d, k) => (k,): the sign of the entry of largest magnitude in each column."""
    return vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).sign()[0]


def _oas(covariance: Tensor, n: int) -> Tensor:
    d = len(covariance)
    mean_square = covariance.square().mean()
    variance = covariance.trace() / d
    # As in scikit-learn, whose alpha is tr(S^2) / d^2. For d = 1 and multiples of the identity, shrinkage does nothing.
    excess = (n + 1) * (mean_square - variance.square() / d)
    weight = min(float((mean_square + variance.square()) / excess), 1.0) if excess > 0 else 1.0
    return (1 - weight) * covariance + weight * variance * torch.eye(
        d, dtype=covariance.dtype, device=covariance.device
    )


def _eigen(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues (d,) in decreasing order and eigenvectors (d, d), one per column."""
    values, vectors = torch.linalg.eigh(covariance)
    # If a class has fewer images than dimensions, rounding may leave eigenvalues slightly below 0.
    return values.clamp(min=0).flip(0), vectors.flip(1)
