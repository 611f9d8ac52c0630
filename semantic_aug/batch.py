"""The label-aware batch wrapper: augments whole batches after the DataLoader, on the GPU or the CPU."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from semantic_aug.augmenter import DEFAULT_CHECKPOINT, Augmenter, LabelsGetter, PerClass
from semantic_aug.model.artifact import Artifact, Mode


class SemanticAugmentBatch(Augmenter):
    """Augment a batch with the latent covariance of each image's own class; labels come back untouched.

    Called like ``v2.MixUp``: ``images, labels = augment(images, labels)``, also with a tuple, a list or a mapping.
    Every image has a coin and a draw of its own; only the chosen ones are encoded and decoded, on the device of the
    batch. ``images`` (B, C, H, W), uint8 or float in [0, 1]; labels int64 (B,), or soft (B, K), of which the largest
    counts. Works in ``collate_fn`` too. ``augment(images, labels, latents=cache[index])`` encodes nothing, see
    ``latents.LatentCache``.

    All other arguments are those of ``SemanticAugment``.

    Args:
        compile: compile the augmentation with ``torch.compile``; the first batches then take long.

    Raises as ``SemanticAugment`` does, and ValueError where a batch has no labels.
    """

    def __init__(
        self,
        p: PerClass = 0.5,
        strength: PerClass | None = None,
        *,
        checkpoint: str | Path | Artifact = DEFAULT_CHECKPOINT,
        perturbation: str = "covariance",
        mode: Mode | None = None,
        labels_getter: LabelsGetter = "default",
        classes: Sequence[str] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        generator: torch.Generator | None = None,
        device: str | torch.device | None = None,
        domain_check: bool = True,
        rank: int | None = None,
        dtype: torch.dtype | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__(
            p, strength, checkpoint=checkpoint, perturbation=perturbation, mode=mode, labels_getter=labels_getter,
            classes=classes, mean=mean, std=std, generator=generator, device=device, domain_check=domain_check,
            rank=rank, dtype=dtype, compile=compile,
        )  # fmt: skip

    def labels_of(self, sample: Any, images: list[Any]) -> Tensor | None:
        """As ``Augmenter.labels_of``, for one batch with labels."""
        if len(images) != 1 or not isinstance(images[0], Tensor) or images[0].ndim != 4:
            kinds = [f"{type(image).__name__}{tuple(getattr(image, 'shape', ()))}" for image in images] or "no image"
            raise ValueError(
                f"expected one batch of images (B, C, H, W), got {kinds}; for single images use SemanticAugment"
            )
        labels = super().labels_of(sample, images)
        if labels is None:
            second = sample[1] if isinstance(sample, tuple | list) and len(sample) > 1 else None
            got = "" if second is None else f" (its second element is a {type(second).__name__})"
            raise ValueError(
                f"found no labels in the batch{got}; call augment(images, labels) with a tensor of labels, or pass "
                f"labels_getter= to find them"
            )
        return labels
