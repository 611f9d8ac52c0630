"""Quality of an artifact on held-out images."""

import torch
from torch import Tensor

from semantic_aug.artifact import Artifact
from semantic_aug.trainer.data import ImageSet
from semantic_aug.trainer.perceptual import Perceptual


@torch.no_grad()
def reconstruction(
    artifact: Artifact, data: ImageSet, perceptual: Perceptual | None = None, *, batch: int = 256
) -> dict[str, float]:
    """Mean and standard deviation over images of the L1 on [-1, 1] between x and G(mu(x)), and of LPIPS if given.

    Keys: ``images``, ``l1_mean``, ``l1_std``, ``lpips_mean``, ``lpips_std``.
    """
    errors: dict[str, list[Tensor]] = {name: [] for name in (("l1", "lpips") if perceptual else ("l1",))}
    for start in range(0, len(data), batch):
        x = data.batch(slice(start, start + batch)).to(artifact.device)
        y = artifact.decode(artifact.encode(x))
        errors["l1"].append((x - y).abs().mean(dim=(1, 2, 3)))
        if perceptual:
            errors["lpips"].append(perceptual(x, y))
    figures: dict[str, float] = {"images": len(data)}
    for name, parts in errors.items():
        std, mean = torch.std_mean(torch.cat(parts), correction=0)
        figures |= {f"{name}_mean": round(float(mean), 6), f"{name}_std": round(float(std), 6)}
    return figures
