"""What of torchvision can be known without loading it, which takes nearly as long as loading torch."""

import sys
from typing import Any

from torch import Tensor

# The files that torchvision's ImageFolder reads.
IMG_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


def tv_tensors(*names: str) -> tuple[type, ...]:
    """The classes of ``torchvision.tv_tensors`` with these names, for ``isinstance``.

    There are none before somebody has imported it, because no value can be of such a class then. Names that are unknown
    to an older version are left out.
    """
    module = sys.modules.get("torchvision.tv_tensors")
    return tuple(getattr(module, name) for name in names if hasattr(module, name))


def is_pure_tensor(value: Any) -> bool:
    """Whether a value is a tensor and none of torchvision's."""
    return isinstance(value, Tensor) and not isinstance(value, tv_tensors("TVTensor"))
