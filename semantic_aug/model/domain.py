"""Whether images look like those that a checkpoint was trained on, judged by their latents and reconstructions."""

import torch
from torch import Tensor

from semantic_aug.model.artifact import Artifact
from semantic_aug.model.runtime import LatentModel

IMAGES = 64  # number of images to look at before the verdict
# The distance is about 1 for images of the training classes, whatever their shares. With fer2013-48 it is 5 for clothes
# and rotated faces, 6 for digits and 27 for noise. It does not tell photographs of other things (1 to 3) from faces.
FAR = 4.0


class Domain:
    """The outputs of an artifact's E and G for the first ``IMAGES`` images."""

    def __init__(self, artifact: Artifact) -> None:
        self._expected = artifact.statistics.balanced()
        self._measured = bool(artifact.reconstruction)
        self._latents: list[Tensor] = []
        self._error = self._spread = 0.0  # L1 to the reconstruction and to a uniform grey, summed over images

    @property
    def missing(self) -> int:
        """How many more images are needed."""
        return IMAGES - len(self._latents)

    @torch.no_grad()
    def look(self, images: Tensor, model: Artifact | LatentModel) -> None:
        """Add images (N, channels, S, S) in [-1, 1] on the device of ``model``, the artifact or a model made of it."""
        mu = model.encode(images)
        self._latents += mu.cpu().double().unbind()
        grey = images.mean(dim=(1, 2, 3), keepdim=True)
        self._error += float((model.decode(mu) - images).abs().mean(dim=(1, 2, 3)).sum())
        self._spread += float((images - grey).abs().mean(dim=(1, 2, 3)).sum())

    def complaint(self) -> str | None:
        """A sentence that says why the images do not suit the checkpoint, or None if they may do.

        A checkpoint whose reconstruction was never measured accepts all images.
        """
        reason = self._reason() if self._measured and self._latents else None
        if reason is None:
            return None
        if len(self._latents) == 1:
            return f"this image does not look like what the checkpoint was trained on: {reason}"
        return f"these images do not look like what the checkpoint was trained on: {reason}"

    def _reason(self) -> str | None:
        n = len(self._latents)
        if self._error >= self._spread:
            errors = f"L1 {self._error / n:.3f}, of the grey {self._spread / n:.3f}"
            return f"reconstruction comes no nearer than an even grey does ({errors})"
        far = distance(torch.stack(self._latents), *self._expected)
        if far > FAR:
            return f"the latents lie far from those of its training images (distance {far:.3g}, usual is 1)"
        return None


def distance(mu: Tensor, mean: Tensor, within: Tensor, between: Tensor) -> float:
    """How far the mean of latents (N, d) is from that of the training images.

    It is (m - M)^T (W / n + B)^-1 (m - M) / d, which is Hotelling's T^2 per dimension if there are no classes. All
    arguments are float64 on the CPU. ``mean`` M (d,), ``within`` W (d, d) and ``between`` B (d, d) come from
    ``ClassStatistics.balanced``. B allows for any shares of the classes. The distance of images from the training
    distribution is about 1. In n, duplicates of an image count less because they carry less information.
    """
    same = torch.cdist(mu, mu, compute_mode="donot_use_mm_for_euclid_dist") < 1e-3 * within.trace().sqrt()
    n = len(mu) ** 2 / float(same.sum())
    away = mu.mean(0) - mean
    return float(away @ torch.linalg.solve(within / n + between, away) / len(away))
