"""The random numbers of a training step, drawn for the whole batch whatever the number of processes."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from semantic_aug._random import seeded
from semantic_aug.trainer.config import TrainConfig
from semantic_aug.trainer.diffaugment import UNIFORMS


@dataclass(frozen=True)
class StepNoise:
    """The random numbers of a step over N images. N is even, and every tensor has one row for each pair of images.

    They depend only on (seed, images_seen), so a resumed run repeats them. A process that trains on images i to j of
    the batch takes the rows of these images. d is the length of a latent.
    """

    mirror: Tensor
    """Uniform (N/2, 2): an image is mirrored below 0.5."""
    latent: Tensor
    """Normal (N/2, 2, d): Eq. 1's noise."""
    prior: Tensor
    """Normal (N/2, d): samples from the prior. Once draws have joined, the noise of two draws of every 4th image."""
    shown: Tensor
    """Uniform (N/2, 4, u): DiffAugment of the images on which D is trained: two real images, a reconstruction, and a
    sample or draw."""
    scored: Tensor
    """Uniform (N/2, 2, u): DiffAugment of the images that D scores for G: a reconstruction, and a sample or draw."""
    strength: Tensor
    """Uniform (N/2, 1): the strength s of each draw."""
    unlabelled: Tensor
    """Uniform (N/2, 2): below ``label_dropout``, G and D do not get the image's label."""

    @classmethod
    def draw(cls, config: TrainConfig, images_seen: int) -> "StepNoise":
        """The noise of the step that follows ``images_seen``."""
        generator = seeded(config.seed, "step", images_seen)
        n, d = config.batch // 2, config.network.latent_dim
        return cls(
            mirror=torch.rand(n, 2, generator=generator),
            latent=torch.randn(n, 2, d, generator=generator),
            prior=torch.randn(n, d, generator=generator),
            shown=torch.rand(n, 4, UNIFORMS, generator=generator),
            scored=torch.rand(n, 2, UNIFORMS, generator=generator),
            strength=torch.rand(n, 1, generator=generator),
            unlabelled=torch.rand(n, 2, generator=generator),
        )

    def share(self, number: int, of: int) -> "StepNoise":
        """The ``number``-th of ``of`` equal shares."""
        return StepNoise(**{field.name: getattr(self, field.name).chunk(of)[number] for field in fields(self)})

    def to(self, device: torch.device) -> "StepNoise":
        """The same on ``device``."""
        return StepNoise(
            **{field.name: getattr(self, field.name).to(device, non_blocking=True) for field in fields(self)}
        )
