"""Samples: which leaves of a nested structure are images, which are not allowed, and their leading dimensions."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

import PIL.Image
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from semantic_aug._torchvision import IMG_EXTENSIONS, is_pure_tensor, tv_tensors

GEOMETRIC = ("BoundingBoxes", "Mask", "KeyPoints")  # KeyPoints was added in torchvision 0.23


def image_positions(flat_inputs: Sequence[Any]) -> list[int]:
    """The positions of the images among the leaves of a sample.

    As in v2, PIL images, ``tv_tensors.Image`` and ``Video`` are images. Only if a sample has none of them, a plain
    tensor with 3 or more dimensions and the dtype of an image is used. Raises ValueError for two such tensors.
    """
    explicit = [i for i, leaf in enumerate(flat_inputs) if _is_explicit(leaf)]
    if explicit:
        return explicit
    plain = [
        i
        for i, leaf in enumerate(flat_inputs)
        if is_pure_tensor(leaf) and leaf.ndim >= 3 and (leaf.dtype == torch.uint8 or leaf.is_floating_point())
    ]
    if len(plain) > 1:
        shapes = [tuple(flat_inputs[i].shape) for i in plain]
        raise ValueError(
            f"{len(plain)} plain tensors could be the image, {shapes}; wrap the one that is in tv_tensors.Image"
        )
    return plain


def _is_explicit(leaf: Any) -> bool:
    return isinstance(leaf, (PIL.Image.Image, *tv_tensors("Image", "Video")))


def check_no_geometry(flat_inputs: Sequence[Any]) -> None:
    """Raise TypeError for boxes, masks and keypoints, because they would not fit a decoded image."""
    for leaf in flat_inputs:
        if isinstance(leaf, tv_tensors(*GEOMETRIC)):
            raise TypeError(
                f"a sample with {type(leaf).__name__} was given; a decoded image has another pose or identity, so "
                f"boxes, masks and keypoints would no longer fit it. Augment images that have class labels only"
            )


def check_no_unseen_image(flat_inputs: Sequence[Any]) -> None:
    """Raise TypeError if a leaf of a sample without images looks like one that would go unnoticed."""
    for leaf in flat_inputs:
        advice = _advice(leaf)
        if advice is not None:
            shape = f" of shape {tuple(leaf.shape)}" if hasattr(leaf, "shape") else ""
            raise TypeError(f"found no image in the sample, only a {type(leaf).__name__}{shape}; {advice}")


def _advice(leaf: Any) -> str | None:
    """What to do with a leaf that is, names or holds an image. None if it does not."""
    if leaf is None:
        return "an image was expected in its place (cv2.imread returns None for a file that it cannot read)"
    if is_pure_tensor(leaf) and leaf.ndim >= 2:
        if leaf.ndim == 2:
            return "pass images as (C, H, W), with image.unsqueeze(0)"
        return f"expected an image of dtype uint8 or floating point, got {leaf.dtype}"
    if not isinstance(leaf, Tensor) and getattr(leaf, "ndim", 0) >= 2:
        return (
            "convert it with torchvision.transforms.v2.functional.to_image, a batch with torch.from_numpy and permute"
        )
    if isinstance(leaf, str | Path) and str(leaf).lower().endswith(IMG_EXTENSIONS):
        return "open the file first, with PIL.Image.open and convert"
    if isinstance(leaf, Mapping) and _holds_image(dict(leaf)):
        return "pass dict(sample), because only dictionaries are searched for images"
    if is_dataclass(leaf) and not isinstance(leaf, type) and _holds_image(vars(leaf)):
        return "pass its image and label, or vars(sample)"
    return None


def _holds_image(sample: Any) -> bool:
    flat, _ = tree_flatten(sample)
    return any(_is_explicit(leaf) or _advice(leaf) for leaf in flat)


def columns_as_rows(sample: Any) -> list[dict[Any, Any]] | None:
    """The samples in a dictionary of lists, such as Hugging Face's batches. None if ``sample`` is no such dictionary.

    All values must be lists of one length, and images among them.
    """
    if not isinstance(sample, dict) or not all(isinstance(column, list) for column in sample.values()):
        return None
    lengths = {len(column) for column in sample.values()}
    if len(lengths) != 1 or not _holds_image(sample):
        return None
    return [dict(zip(sample, row, strict=True)) for row in zip(*sample.values(), strict=True)]


def leading_shape(image: Any) -> tuple[int, ...]:
    """The leading shape of an image: () for PIL, ``(...)`` of (..., C, H, W), and one dimension less for a video."""
    if not isinstance(image, Tensor):
        return ()
    if image.ndim < 3:
        raise ValueError(f"expected an image of shape (..., C, H, W), got {tuple(image.shape)}")
    return tuple(image.shape[: -4 if isinstance(image, tv_tensors("Video")) else -3])


def flatten_leading(tensor: Tensor, leading: int) -> Tensor:
    """Flatten the first ``leading`` dimensions of a tensor into one: (N, ...)."""
    return tensor.reshape(math.prod(tensor.shape[:leading]), *tensor.shape[leading:])
