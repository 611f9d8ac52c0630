"""The information about a run that the parts of an arm get, and the types of their functions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from semantic_aug import Artifact
from semantic_aug.data.dataset import ImageSet

Key = tuple[int | str, ...]  # seeds the random numbers of one step and one view
Change = Callable[[Tensor, Tensor, Tensor, Key], Tensor]  # images on the device, labels and indices on the CPU, key
Prepare = Callable[[Tensor, Key], Tensor]  # indices and a key => a finished batch of these images
Mix = Callable[[Tensor, Tensor, Key, Prepare], tuple[Tensor, Tensor]]  # images, labels => images, soft labels


@dataclass(frozen=True)
class Context:
    """The information about a run that a part gets.

    ``data`` holds the training images, and ``cache`` is a directory for results that take long to compute.
    """

    data: ImageSet
    settings: Mapping[str, Any]
    seed: int
    device: torch.device
    artifact: Artifact | None = None
    cache: Path | None = None

    @property
    def dtype(self) -> torch.dtype | None:
        """The dtype of networks under autocast, or None without autocast."""
        return torch.bfloat16 if self.settings["precision"] == "bf16" else None
