"""RandAugment (arXiv 1909.13719) and TrivialAugment (arXiv 2103.10158) that draw separately for each image of a batch.

``v2.RandAugment`` and ``v2.TrivialAugmentWide`` draw once per call, so all images of a batch get the same operations.
If they are called for each image, they take longer than a training step. Here torchvision's kernels process all images
that drew the same operation together, on the device of the batch.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

BINS = 31  # number of magnitudes, as in torchvision. A magnitude is an integer in 0..30.
OPERATIONS_PER_IMAGE, MAGNITUDE = 2, 9  # defaults of torchvision's RandAugment


def _affine(images: Tensor, translate: tuple[float, float] = (0, 0), shear: tuple[float, float] = (0, 0)) -> Tensor:
    # torchvision shears about the corner and translates by whole pixels.
    center = [0.0, 0.0] if any(shear) else None
    degrees = [math.degrees(math.atan(value)) for value in shear]
    return F.affine(images, 0.0, [int(value) for value in translate], 1.0, degrees, center=center)


# In torchvision's order. The number is a signed amount. It is the number of bits to drop for Posterize, and
# 1 - threshold for Solarize.
OPERATIONS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "Identity": lambda x, m: x,
    "ShearX": lambda x, m: _affine(x, shear=(m, 0.0)),
    "ShearY": lambda x, m: _affine(x, shear=(0.0, m)),
    "TranslateX": lambda x, m: _affine(x, translate=(m, 0.0)),
    "TranslateY": lambda x, m: _affine(x, translate=(0.0, m)),
    "Rotate": lambda x, m: F.rotate(x, m),
    "Brightness": lambda x, m: F.adjust_brightness(x, 1 + m),
    "Color": lambda x, m: F.adjust_saturation(x, 1 + m),
    "Contrast": lambda x, m: F.adjust_contrast(x, 1 + m),
    "Sharpness": lambda x, m: F.adjust_sharpness(x, 1 + m),
    "Posterize": lambda x, m: F.posterize(x, 8 - round(m)),
    "Solarize": lambda x, m: F.solarize(x, 255 * (1 - m)),
    "AutoContrast": lambda x, m: F.autocontrast(x),
    "Equalize": lambda x, m: F.equalize(x),
}
NAMES = list(OPERATIONS)
SIGNED = {"ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast", "Sharpness"}
UNSIZED = {"Identity", "AutoContrast", "Equalize"}  # operations without a magnitude

# Height and width => the amount of each operation at the largest magnitude.
Space = Callable[[int, int], dict[str, float]]


def randaugment_space(height: int, width: int) -> dict[str, float]:
    """Amounts of RandAugment, as in ``v2.RandAugment``."""
    colour = dict.fromkeys(("Brightness", "Color", "Contrast", "Sharpness"), 0.9)
    translate = {"TranslateX": 150 / 331 * width, "TranslateY": 150 / 331 * height}
    return colour | translate | {"ShearX": 0.3, "ShearY": 0.3, "Rotate": 30.0, "Posterize": 4.0, "Solarize": 1.0}


def trivialaugment_space(height: int, width: int) -> dict[str, float]:
    """Amounts of TrivialAugment's wide space, as in ``v2.TrivialAugmentWide``."""
    strong = dict.fromkeys(("Brightness", "Color", "Contrast", "Sharpness", "ShearX", "ShearY"), 0.99)
    return strong | {"TranslateX": 32.0, "TranslateY": 32.0, "Rotate": 135.0, "Posterize": 6.0, "Solarize": 1.0}


def randaugment(images: Tensor, generator: torch.Generator, magnitude: int = MAGNITUDE) -> Tensor:
    """Apply two operations to each image, uint8 (B, C, H, W), all with the same magnitude in 0..30."""
    shape = (len(images), OPERATIONS_PER_IMAGE)
    operation = torch.randint(len(OPERATIONS), shape, generator=generator)
    negative = torch.rand(shape, generator=generator) < 0.5
    return apply_operations(images, operation, torch.full(shape, magnitude), negative, randaugment_space)


def trivialaugment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Apply one operation with a random magnitude to each image, uint8 (B, C, H, W)."""
    shape = (len(images), 1)
    operation = torch.randint(len(OPERATIONS), shape, generator=generator)
    magnitude = torch.randint(BINS, shape, generator=generator)
    negative = torch.rand(shape, generator=generator) < 0.5
    return apply_operations(images, operation, magnitude, negative, trivialaugment_space)


def apply_operations(images: Tensor, operation: Tensor, magnitude: Tensor, negative: Tensor, space: Space) -> Tensor:
    """Apply a separate list of operations to each image, uint8 (B, C, H, W).

    Args:
        operation: indices of operations (B, n), applied from left to right, on the CPU.
        magnitude: their magnitudes in 0..30, (B, n), on the CPU.
        negative: whether the amount is negative, for operations with a signed amount, bool (B, n), on the CPU.
        space: returns the amounts at magnitude 30.
    """
    largest = space(*images.shape[-2:])
    out = images.clone()
    for step in range(operation.shape[1]):
        drawn: dict[tuple[str, int], list[int]] = {}
        for i, (number, size, minus) in enumerate(
            zip(operation[:, step].tolist(), magnitude[:, step].tolist(), negative[:, step].tolist(), strict=True)
        ):
            name = NAMES[number]
            signed = -size if minus and name in SIGNED else size
            drawn.setdefault((name, 0 if name in UNSIZED else signed), []).append(i)
        for (name, size), members in drawn.items():
            index = torch.tensor(members).to(images.device, non_blocking=True)
            out[index] = OPERATIONS[name](out[index], size / (BINS - 1) * largest.get(name, 0.0))
    return out
