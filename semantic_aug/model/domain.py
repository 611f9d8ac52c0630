"""Whether images look like those that a checkpoint was trained on, told by their latents and their reconstructions."""

import torch
from torch import Tensor

from semantic_aug.model.artifact import Artifact
from semantic_aug.model.runtime import LatentModel

IMAGES = 64  # looked at before a verdict
# Of the training's images 1. With fer2013-48: images of its rarest class alone 3, crops with black borders 11; other
# data sets from 12 to 130. Natural photographs in soft light are not told from faces by it (4).
FAR = 15.0


class Domain:
    """What E and G of an artifact make of the first ``IMAGES`` images."""

    def __init__(self, artifact: Artifact) -> None:
        self._mean, self._covariance = artifact.statistics.total()
        self._measured = bool(artifact.reconstruction)
        self._latents: list[Tensor] = []
        self._error = self._spread = 0.0  # L1 to the reconstruction and to an even grey, summed over images

    @property
    def missing(self) -> int:
        """How many images are still to be looked at."""
        return IMAGES - len(self._latents)

    @torch.no_grad()
    def look(self, images: Tensor, model: Artifact | LatentModel) -> None:
        """Take in images (N, channels, S, S) in [-1, 1], on the device of ``model``, the artifact or a model of it."""
        mu = model.encode(images)
        self._latents += mu.cpu().double().unbind()
        grey = images.mean(dim=(1, 2, 3), keepdim=True)
        self._error += float((model.decode(mu) - images).abs().mean(dim=(1, 2, 3)).sum())
        self._spread += float((images - grey).abs().mean(dim=(1, 2, 3)).sum())

    def complaint(self) -> str | None:
        """A sentence on why the images are none of the checkpoint's, or None where nothing speaks against them.

        Nothing speaks against any image where the checkpoint was never measured, so that it has no images of its own.
        """
        reason = self._reason() if self._measured and self._latents else None
        return reason and f"{self._subject()} not look like what the checkpoint was trained on: {reason}"

    def _subject(self) -> str:
        return "this image does" if len(self._latents) == 1 else "these images do"

    def _reason(self) -> str | None:
        n = len(self._latents)
        if self._error >= self._spread:
            errors = f"L1 {self._error / n:.3f}, of the grey {self._spread / n:.3f}"
            return f"reconstruction comes no nearer than an even grey does ({errors})"
        far = distance(torch.stack(self._latents), self._mean, self._covariance)
        if far > FAR:
            return f"the latents lie far from those of its training images (distance {far:.3g}, usual is 1)"
        return None


def distance(mu: Tensor, mean: Tensor, covariance: Tensor) -> float:
    """How far the mean of latents (N, d) lies from that of the training images: n (m - M)^T Sigma^-1 (m - M) / d.

    All float64 on the CPU; ``mean`` M (d,) and ``covariance`` Sigma (d, d) as ``ClassStatistics.total`` gives them.

    Hotelling's T^2 per dimension: about 1 for images of the training's distribution. n counts an image that is there
    several times less, as far as it tells less.
    """
    same = torch.cdist(mu, mu, compute_mode="donot_use_mm_for_euclid_dist") < 1e-3 * covariance.trace().sqrt()
    n = len(mu) ** 2 / float(same.sum())
    away = mu.mean(0) - mean
    return float(n * away @ torch.linalg.solve(covariance, away) / len(away))
