"""RandAugment drawn for each image of a batch (Cubuk et al. 2019, arXiv 1909.13719), from torchvision's kernels.

``v2.RandAugment`` draws once per call, so that a batch shares its operations, and image by image it costs more than a
training step. Here all images that drew the same operation are computed together, on the device of the batch.
"""

import math
from collections.abc import Callable

from torch import Tensor
from torchvision.transforms.v2 import functional as F

OPERATIONS_PER_IMAGE, MAGNITUDE = 2, 9 / 30  # torchvision's defaults; the magnitude as a fraction of the largest


def _affine(images: Tensor, translate: tuple[float, float] = (0, 0), shear: tuple[float, float] = (0, 0)) -> Tensor:
    # torchvision shears about the corner and translates by whole pixels.
    center = [0.0, 0.0] if any(shear) else None
    degrees = [math.degrees(math.atan(value)) for value in shear]
    return F.affine(images, 0.0, [int(value) for value in translate], 1.0, degrees, center=center)


# Name => (largest magnitude, operation), in torchvision's order; a sign is drawn for those in SIGNED.
OPERATIONS: dict[str, tuple[float, Callable[[Tensor, float], Tensor]]] = {
    "Identity": (0.0, lambda x, m: x),
    "ShearX": (0.3, lambda x, m: _affine(x, shear=(m, 0.0))),
    "ShearY": (0.3, lambda x, m: _affine(x, shear=(0.0, m))),
    "TranslateX": (150 / 331, lambda x, m: _affine(x, translate=(m * x.shape[-1], 0.0))),
    "TranslateY": (150 / 331, lambda x, m: _affine(x, translate=(0.0, m * x.shape[-2]))),
    "Rotate": (30.0, lambda x, m: F.rotate(x, m)),
    "Brightness": (0.9, lambda x, m: F.adjust_brightness(x, 1 + m)),
    "Color": (0.9, lambda x, m: F.adjust_saturation(x, 1 + m)),
    "Contrast": (0.9, lambda x, m: F.adjust_contrast(x, 1 + m)),
    "Sharpness": (0.9, lambda x, m: F.adjust_sharpness(x, 1 + m)),
    "Posterize": (4.0, lambda x, m: F.posterize(x, 8 - round(m))),
    "Solarize": (1.0, lambda x, m: F.solarize(x, 255 * (1 - m))),
    "AutoContrast": (0.0, lambda x, m: F.autocontrast(x)),
    "Equalize": (0.0, lambda x, m: F.equalize(x)),
}
SIGNED = {"ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast", "Sharpness"}


def randaugment(images: Tensor, operation: Tensor, negative: Tensor) -> Tensor:
    """Images uint8 (B, C, H, W) after the operations of each.

    Args:
        operation: numbers of operations (B, n), applied from left to right, on the CPU.
        negative: whether the magnitude is negative, where it has a sign, bool (B, n), on the CPU.
    """
    out = images.clone()
    for step in range(operation.shape[1]):
        for number, (name, (largest, apply)) in enumerate(OPERATIONS.items()):
            for sign in (1, -1):
                chosen = operation[:, step] == number
                if name in SIGNED:
                    chosen = chosen & (negative[:, step] == (sign < 0))
                elif sign < 0:
                    continue
                index = chosen.nonzero().flatten().to(images.device, non_blocking=True)
                if len(index):
                    out[index] = apply(out[index], sign * largest * MAGNITUDE)
    return out
