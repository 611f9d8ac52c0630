"""Samples: which leaves of a nested structure are images, which are not allowed, and their leading dimensions."""

import math
from collections.abc import Sequence
from typing import Any

import PIL.Image
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

EXPLICIT = (PIL.Image.Image, tv_tensors.Image, tv_tensors.Video)
# KeyPoints was added in torchvision 0.23.
GEOMETRIC = (
    tv_tensors.BoundingBoxes,
    tv_tensors.Mask,
    *(getattr(tv_tensors, name) for name in ("KeyPoints",) if hasattr(tv_tensors, name)),
)


def image_positions(flat_inputs: Sequence[Any]) -> list[int]:
    """The positions of the images among the leaves of a sample.

    As in v2, PIL images, ``tv_tensors.Image`` and ``Video`` are images. Only if a sample has none of them, a plain
    tensor with 3 or more dimensions and the dtype of an image is used. Raises ValueError for two such tensors.
    """
    explicit = [i for i, leaf in enumerate(flat_inputs) if isinstance(leaf, EXPLICIT)]
    if explicit:
        return explicit
    plain = [
        i
        for i, leaf in enumerate(flat_inputs)
        if F.is_pure_tensor(leaf) and leaf.ndim >= 3 and (leaf.dtype == torch.uint8 or leaf.is_floating_point())
    ]
    if len(plain) > 1:
        shapes = [tuple(flat_inputs[i].shape) for i in plain]
        raise ValueError(
            f"{len(plain)} plain tensors could be the image, {shapes}; wrap the one that is in tv_tensors.Image"
        )
    return plain


def check_no_geometry(flat_inputs: Sequence[Any]) -> None:
    """Raise TypeError for boxes, masks and keypoints, because they would not fit a decoded image."""
    for leaf in flat_inputs:
        if isinstance(leaf, GEOMETRIC):
            raise TypeError(
                f"a sample with {type(leaf).__name__} was given; a decoded image has another pose or identity, so "
                f"boxes, masks and keypoints would no longer fit it. Augment images that have class labels only"
            )


def leading_shape(image: Any) -> tuple[int, ...]:
    """The leading shape of an image: () for PIL, ``(...)`` of (..., C, H, W), and one dimension less for a video."""
    if not isinstance(image, Tensor):
        return ()
    if image.ndim < 3:
        raise ValueError(f"expected an image of shape (..., C, H, W), got {tuple(image.shape)}")
    return tuple(image.shape[: -4 if isinstance(image, tv_tensors.Video) else -3])


def flatten_leading(tensor: Tensor, leading: int) -> Tensor:
    """Flatten the first ``leading`` dimensions of a tensor into one: (N, ...)."""
    return tensor.reshape(math.prod(tensor.shape[:leading]), *tensor.shape[leading:])
