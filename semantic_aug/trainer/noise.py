"""The randomness of a training step, drawn for the whole batch, however many processes share it."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from semantic_aug._random import seeded
from semantic_aug.trainer.config import TrainConfig
from semantic_aug.trainer.diffaugment import UNIFORMS


@dataclass(frozen=True)
class StepNoise:
    """What a step over N images draws, N even, every tensor with one row for each pair of images.

    It depends on (seed, images_seen) alone, so a resumed run repeats it, and a process that trains on images i to j
    of the batch takes the rows of those. d is the length of a latent.
    """

    mirror: Tensor
    """Uniform (N/2, 2): an image is mirrored below 0.5."""
    latent: Tensor
    """Normal (N/2, 2, d): Eq. 1's noise."""
    prior: Tensor
    """Normal (N/2, d): samples from the prior or, once draws have joined, the noise of two draws of every 4th image."""
    shown: Tensor
    """Uniform (N/2, 4, u): DiffAugment of two real images, a reconstruction and a sample or draw that D learns on."""
    scored: Tensor
    """Uniform (N/2, 2, u): DiffAugment of the reconstruction and the sample or draw that D scores for G."""
    strength: Tensor
    """Uniform (N/2, 1): the strength s of each draw."""
    unlabelled: Tensor
    """Uniform (N/2, 2): G and D do not get an image's label where it is below ``label_dropout``."""

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
        """The ``number``-th of so many equal shares."""
        return StepNoise(**{field.name: getattr(self, field.name).chunk(of)[number] for field in fields(self)})

    def to(self, device: torch.device) -> "StepNoise":
        """The same on ``device``."""
        return StepNoise(
            **{field.name: getattr(self, field.name).to(device, non_blocking=True) for field in fields(self)}
        )
