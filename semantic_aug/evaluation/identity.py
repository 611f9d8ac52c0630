"""Identity of a face, measured by a face recognition network if the packages for it are installed."""

import importlib.util
from collections.abc import Callable

import torch
from torch import Tensor

from semantic_aug.images import model_to_unit, resize

IDENTITY = "dlib's face recognition network, of the package face_recognition_models"
FACE = 150  # pixels, that network's input

Embed = Callable[[Tensor], Tensor]  # images (N, C, S, S) in [-1, 1] => (N, F)


def identity_embedding() -> Embed | None:
    """A function that embeds faces so that vectors of one person are close, or None if the packages are missing.

    Install them with ``pip install dlib-bin face_recognition_models``. The network expects a face that fills the image.
    For images of anything else, its vectors mean nothing. It takes about 0.1 s per image on one core.
    """
    if not all(importlib.util.find_spec(name) for name in ("dlib", "face_recognition_models")):
        return None
    import dlib

    (folder,) = importlib.util.find_spec("face_recognition_models").submodule_search_locations  # type: ignore[union-attr,misc]
    network = dlib.face_recognition_model_v1(f"{folder}/models/dlib_face_recognition_resnet_model_v1.dat")

    def embed(x: Tensor) -> Tensor:
        unit = resize(model_to_unit(x.cpu()), (FACE, FACE)).clamp(0, 1).mul(255).round().byte()
        chips = [image.numpy() for image in unit.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous()]
        return torch.tensor(network.compute_face_descriptor(chips)) if chips else torch.empty(0, 128)

    return embed
