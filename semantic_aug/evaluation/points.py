"""Ways to augment images, and the images that they make from a batch."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms import v2

from semantic_aug._random import seeded
from semantic_aug.functional import blend
from semantic_aug.images import bytes_to_model, model_to_unit, tensor_to_unit, unit_to_tensor
from semantic_aug.model.artifact import Artifact
from semantic_aug.model.recommended import MODES, Mode
from semantic_aug.model.runtime import LatentModel
from semantic_aug.perturb import PERTURBATIONS

REAL, RECONSTRUCTION, RANDAUGMENT = "real", "reconstruction", "RandAugment"
REFERENCES = (REAL, RECONSTRUCTION, RANDAUGMENT)  # kinds of image that are not points
STRENGTHS = (0.1, 0.35, 1.0)
COMPARED = ("covariance", "isotropic")  # the perturbations of the default points
DRAWS = 2  # augmentations of each image


@dataclass(frozen=True)
class Point:
    """A way to augment images: a mode, a perturbation of ``PERTURBATIONS`` and a strength s > 0.

    >>> str(Point("detail", "covariance", 0.35))
    'detail covariance 0.35'
    """

    mode: Mode
    perturbation: str
    strength: float

    def __post_init__(self) -> None:
        if self.mode not in MODES or self.perturbation not in PERTURBATIONS:
            raise ValueError(
                f"expected a mode of {MODES} and a perturbation of {tuple(PERTURBATIONS)}, got {self.mode!r} and "
                f"{self.perturbation!r}"
            )
        if not 0 < self.strength < math.inf:
            raise ValueError(f"strength must be above 0 and finite, got {self.strength}")

    def __str__(self) -> str:
        return f"{self.mode} {self.perturbation} {self.strength:g}"


def default_points(
    artifact: Artifact, perturbations: Sequence[str] = COMPARED, strengths: Sequence[float] = STRENGTHS
) -> list[Point]:
    """Both modes with each perturbation, at each strength and at the one that the artifact recommends."""
    rising = sorted({*strengths, artifact.recommended.strength} - {0})
    return [Point(mode, name, strength) for mode in MODES for name in perturbations for strength in rising]


class Batch:
    """Images at a model's size, with everything that all points need.

    Args:
        model: model of the artifact, on the device to work on.
        images: uint8 (n, C, S, S).
        labels: class indices of the artifact, (n,).
        start: position of the first image in its data set. The noise of an image depends only on its position and the
            seed, and is the same for all points.
        seed: seed of all draws.
    """

    def __init__(self, model: LatentModel, images: Tensor, labels: Tensor, start: int, seed: int) -> None:
        self.model, self.start, self.seed = model, start, seed
        self.images, self.labels = images.to(model.device), labels.to(model.device)
        self.mu = model.encode(bytes_to_model(self.images))
        self.reconstruction = model_to_unit(model.decode(self.mu, self.labels))
        generators = [seeded(seed, "plane", start + number) for number in range(len(images))]
        noise = [torch.randn(DRAWS, model.network.latent_dim, generator=generator) for generator in generators]
        self.noise = torch.stack(noise, dim=1).to(model.device)  # (DRAWS, n, d)

    def make(self, points: Sequence[Point]) -> Iterator[tuple[str, Tensor]]:
        """Every kind of image by its name, uint8 (DRAWS, n, C, S, S), or (1, n, C, S, S) if nothing is drawn at random.

        The kinds are ``REFERENCES`` and the points.
        """
        yield REAL, self.images[None]
        yield RECONSTRUCTION, unit_to_tensor(self.reconstruction, torch.uint8)[None]
        yield RANDAUGMENT, torch.stack([self._randaugment(draw) for draw in range(DRAWS)])
        modes: dict[tuple[str, float], list[Mode]] = defaultdict(list)
        for point in points:
            modes[point.perturbation, point.strength].append(point.mode)
        unit = tensor_to_unit(self.images)
        for (perturbation, strength), wanted in modes.items():
            decoded = [self._decode(perturbation, strength, noise) for noise in self.noise]  # once for both modes
            for mode in wanted:
                before = self.reconstruction if mode == "detail" else None
                views = torch.stack([blend(unit, before, after) for after in decoded])
                yield str(Point(mode, perturbation, strength)), unit_to_tensor(views, torch.uint8)

    def _decode(self, perturbation: str, strength: float, noise: Tensor) -> Tensor:
        z = PERTURBATIONS[perturbation](self.mu, self.labels, noise, self.model, strength)
        return model_to_unit(self.model.decode(z, self.labels))

    def _randaugment(self, draw: int) -> Tensor:
        """torchvision's RandAugment with its defaults, drawn independently for each image."""
        augment = v2.RandAugment()
        views = []
        with torch.random.fork_rng(devices=[]):
            for position, image in enumerate(self.images.cpu(), self.start):
                torch.manual_seed(seeded(self.seed, "randaugment", draw, position).initial_seed())
                views.append(augment(image))
        return torch.stack(views).to(self.images.device)
