"""The contract of a transform, as strict as torchvision's own checks of its v2 transforms.

``check_transform`` takes a transform that augments every image (p = 1) and raises AssertionError where it breaks one
of the rules; the tests run it over every class, mode and perturbation.
"""

import copy
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

SIZES = [(17, 11), (64, 64), (32, 32)]
DTYPES = [torch.uint8, torch.float32]


def as_tensor(image: Any) -> Tensor:
    return F.pil_to_tensor(image) if isinstance(image, PIL.Image.Image) else image.as_subclass(Tensor)


def single_images(size: tuple[int, int]) -> Iterator[Any]:
    """One image of every kind: plain tensors, Image, Video, PIL, grey and RGB, contiguous or not."""
    for dtype in DTYPES:
        for channels in (1, 3):
            image = F.to_dtype(torch.rand(channels, *size), dtype, scale=True)
            yield image
            yield image.transpose(1, 2).contiguous().transpose(1, 2)
            yield tv_tensors.Image(image)
            yield tv_tensors.Video(torch.stack([image, image, image]))
            yield F.to_pil_image(image) if dtype == torch.uint8 else tv_tensors.Image(image[None])[0]


def check_kept(before: Tensor, image: Any, out: Any, version: int | None) -> None:
    """Type, shape, dtype, device and range are kept; the input is not written to."""
    new, old = as_tensor(out), as_tensor(image)
    assert type(out) is type(image) or isinstance(image, Tensor)
    assert (new.shape, new.dtype, new.device) == (before.shape, before.dtype, before.device)
    assert torch.equal(old, before), "the input was written to"
    if version is not None:
        assert image._version == version, "the input was written to in place"
    assert not new.requires_grad
    if new.numel() and new.is_floating_point():
        assert new.isfinite().all()
        assert new.min() >= 0
        assert new.max() <= 1


def check_image(call: Callable[[Any], Any], image: Any) -> Tensor:
    """``call(image)`` keeps what has to be kept and changes the pixels."""
    before = as_tensor(image).clone()
    version = image._version if isinstance(image, Tensor) else None
    out = call(image)
    check_kept(before, image, out, version)
    assert not torch.equal(as_tensor(out), before), "p = 1 changed nothing"
    return as_tensor(out)


def check_repeats(transform: Any, call: Callable[[Any, Any], Any], image: Any) -> None:
    """The same seed gives the same result, for a copy and after pickling, in training mode and not."""
    results = []
    for version in (
        transform,
        pickle.loads(pickle.dumps(transform)),
        copy.deepcopy(transform),
        transform.train(),
        transform.eval(),
    ):
        torch.manual_seed(11)
        results.append(as_tensor(call(version, image)))
    assert all(torch.equal(results[0], other) for other in results[1:])


def check_leading_dimensions(transform: Any, labels_for: Callable[[tuple[int, ...]], Tensor]) -> None:
    """Batched equals unbatched on the same draws; every leading shape works, empty ones too."""
    image = torch.rand(1, 20, 24)
    for shape in [(2,), (2, 1), (3, 2), (0,), (5, 0), (0, 5)]:
        images = image.expand(*shape, -1, -1, -1)
        params = transform.make_params([images]) | {"labels": labels_for(shape)}
        out = transform.transform(images, params)
        assert out.shape == images.shape
        flat = {name: value.reshape(-1, *value.shape[len(shape) :]) for name, value in params.items()}
        for i, result in enumerate(out.reshape(-1, *image.shape)):
            one = transform.transform(image, {name: value[i] for name, value in flat.items()})
            torch.testing.assert_close(result, one, rtol=0, atol=1e-4)


def check_structures(transform: Any, image: Any, label: Any) -> None:
    """A sample of everything comes back in the same structure, what is no image as the same objects."""
    label_tensor = label if isinstance(label, Tensor) else torch.tensor(label)
    extra = {
        "int": 3,
        "float": 0.5,
        "none": None,
        "bool": True,
        "text": "a",
        "path": Path("x"),
        "object": object(),
        "vector": torch.rand(4),
        "matrix": torch.rand(3, 5),
        "array": np.zeros(3),
        "nested": {"deep": (1, [None])},
    }
    for sample in (
        {"image": image, "label": label_tensor, **extra},
        (image, label_tensor, *extra.values()),
        [image, label_tensor, *extra.values()],
        {"label": label_tensor, "image": image},
    ):
        out = transform(sample)
        flat, spec = tree_flatten(sample)
        new, new_spec = tree_flatten(out)
        assert new_spec == spec
        assert type(out) is type(sample)
        for old_leaf, new_leaf in zip(flat, new, strict=True):
            assert (new_leaf is old_leaf) == (old_leaf is not image)
