"""The augmentation itself: encode, perturb, decode. The result is determined by the noise that is passed in."""

import math

import torch
from torch import Tensor

from semantic_aug.images import (
    add_change,
    check_channels,
    model_to_unit,
    resize,
    tensor_to_unit,
    to_model_channels,
    unit_to_model,
    unit_to_tensor,
)
from semantic_aug.model.networks import NetworkConfig
from semantic_aug.model.recommended import MODES, Mode
from semantic_aug.model.runtime import LatentModel
from semantic_aug.model.statistics import POOLED, column_signs
from semantic_aug.perturb import NEEDS_LABELS, NEEDS_OTHERS, PERTURBATIONS


def semantic_augment_image(
    image: Tensor,
    noise: Tensor,
    model: LatentModel,
    labels: Tensor | int = POOLED,
    *,
    strength: float | Tensor | None = None,
    mode: Mode | None = None,
    perturbation: str = "covariance",
    mu: Tensor | None = None,
    reconstruction: Tensor | None = None,
) -> Tensor:
    """Augment images (Eq. 4): x' = G(mu(x) + sqrt(s) L_c r).

    Args:
        image: (..., C, H, W), uint8 or floating point in [0, 1], C = 1 or 3, any size.
        noise: r, standard normal numbers (..., d), broadcast over the leading dimensions of ``image``.
        model: a model on the device of ``image``. It also determines the shrinkage, the rank and the precision.
        labels: class indices with the leading shape (...), or one index for all images. -1 (``POOLED``) selects the
            pooled covariance.
        strength: s >= 0, one value for all images or a tensor with the leading shape (...). None uses the artifact's
            recommendation.
        mode: "decode" returns G(z'), as the paper does. "detail" adds only the change, x + G(z') - G(mu). This keeps
            what the autoencoder cannot reproduce, and strength 0 is the identity. None uses the artifact's
            recommendation.
        perturbation: a name in ``perturb.PERTURBATIONS``.
        mu: latents of the same images (..., d), if they are known. The images are then not encoded.
        reconstruction: G(mu) in [0, 1], (..., channels, S, S) at the size of the networks, if it is known. Mode
            "detail" then decodes only z'.

    Raises TypeError if ``model`` is not a ``LatentModel``, and ValueError for settings out of range. The values of
    tensors are checked only if this does not require waiting for a device.

    Returns a new tensor with the shape, dtype and device of ``image``, without gradients. With plain tensors the
    function compiles as a single graph: ``torch.compile(semantic_augment_image, fullgraph=True)``.

    Example::

        model = LatentModel.of(Artifact.from_pretrained("fer2013-48"))
        images, noise = torch.rand(8, 3, 224, 224), torch.randn(8, model.network.latent_dim)
        augmented = functional.semantic_augment_image(images, noise, model)  # (8, 3, 224, 224)
    """
    if not isinstance(model, LatentModel):
        raise TypeError(f"model must be a LatentModel, got {type(model).__name__}; call LatentModel.of(artifact)")
    strength = model.recommended.strength if strength is None else strength
    mode = model.recommended.mode if mode is None else mode
    if mode not in MODES:
        raise ValueError(f"mode must be one of {MODES}, got {mode!r}")
    if perturbation not in PERTURBATIONS:
        raise ValueError(f"perturbation must be one of {tuple(PERTURBATIONS)}, got {perturbation!r}")
    *leading, channels, height, width = image.shape
    check_channels(image)
    _check_labels(labels, model.num_classes, perturbation)
    _check_strength(strength)
    if not image.numel():
        return image.clone()
    d = model.network.latent_dim
    device, asynchronous = image.device, image.is_cuda  # do not wait for copies to a GPU
    noise = noise.to(device, torch.float32, non_blocking=asynchronous).expand(*leading, d).reshape(-1, d)
    labels = labels if isinstance(labels, Tensor) else torch.tensor(labels, device="cpu")
    labels = labels.to(device, non_blocking=asynchronous).expand(leading).reshape(-1)
    if isinstance(strength, Tensor):
        strength = strength.to(device, non_blocking=asynchronous).expand(leading).reshape(-1)
    unit = tensor_to_unit(image).reshape(-1, channels, height, width)
    with torch.no_grad(), torch.autocast(device.type, enabled=False):  # ignore the caller's autocast
        if mu is None:
            mu = model.encode(model_input(unit, model.network))
        else:
            mu = mu.to(device, torch.float32, non_blocking=asynchronous).expand(*leading, d).reshape(-1, d)
        z = PERTURBATIONS[perturbation](mu, labels, noise, model, strength)
        before, after = decode_pair(mu, z, labels, model, mode if reconstruction is None else "decode")
        if mode == "detail" and reconstruction is not None:
            before = reconstruction.to(device, torch.float32, non_blocking=asynchronous).reshape(after.shape)
        augmented = blend(unit, before, after)
        if perturbation in NEEDS_OTHERS:  # an image without a partner stays unchanged
            augmented = torch.where((z != mu).any(1)[:, None, None, None], augmented, unit)
    return unit_to_tensor(augmented, image.dtype).reshape(image.shape)


def _check_labels(labels: Tensor | int, classes: int, perturbation: str) -> None:
    if isinstance(labels, Tensor):
        if torch.compiler.is_compiling() or labels.device.type != "cpu" or not labels.numel():
            return
        low, high = int(labels.min()), int(labels.max())
    else:
        low = high = labels
    lowest = 0 if perturbation in NEEDS_LABELS else POOLED
    if low < lowest or high >= classes:
        raise ValueError(f"labels must lie in {lowest}..{classes - 1} for {perturbation!r}, got {low}..{high}")


def _check_strength(strength: float | Tensor) -> None:
    low = high = strength
    if isinstance(strength, Tensor):
        if torch.compiler.is_compiling() or strength.device.type != "cpu" or not strength.numel():
            return
        low, high = float(strength.min()), float(strength.max())
    if not 0 <= low <= high < math.inf:
        raise ValueError(f"strength must be >= 0 and finite, got {strength}")


def decode_pair(mu: Tensor, z: Tensor, labels: Tensor, model: LatentModel, mode: Mode) -> tuple[Tensor | None, Tensor]:
    """Decode latents (N, d) to G(mu) and G(z'), each float32 (N, channels, S, S) in [0, 1].

    Mode "decode" does not need G(mu) and returns None for it. ``labels`` (N,) are used by a conditional G. They are
    ``POOLED`` for images whose class is not known.
    """
    if mode == "decode":
        return None, model_to_unit(model.decode(z, labels))
    before, after = model_to_unit(model.decode(torch.cat([mu, z]), labels.repeat(2))).chunk(2)
    return before, after


def blend(unit: Tensor, before: Tensor | None, after: Tensor) -> Tensor:
    """Combine unit-range images (N, 1 or 3, H, W) with the output of the networks.

    Without ``before``, the result is ``after`` (N, channels, S, S), resized. With it, only the change from ``before``
    to ``after`` is added. The result has the size and channels of ``unit`` and is not clipped.
    """
    if before is None:
        height, width = unit.shape[-2:]
        return add_change(unit, resize(after, (height, width)) - to_model_channels(unit, after.shape[1]))
    return add_change(unit, after - before)


def direction_noise(deviations: Tensor, model: LatentModel, label: int = POOLED) -> Tensor:
    """Noise (..., d) that makes ``semantic_augment_image`` at strength 1 move along the directions of a class.

    ``deviations`` (..., k), k <= r, says how far to move along each of the k leading directions of the class's
    covariance in ``model``, in standard deviations: z' = mu + sum_i deviations_i sqrt(variance_i) direction_i. The
    directions are those of ``ClassStatistics.directions`` with the shrinkage of ``model``. Raises ValueError if k is
    larger than the number of directions in the model.
    """
    k, factor = deviations.shape[-1], model.factors[label]
    if k > factor.shape[1]:
        raise ValueError(f"expected at most {factor.shape[1]} directions, which the model has, got {k}")
    signs = column_signs(factor).to(deviations)
    return torch.nn.functional.pad(deviations * signs[:k], (0, model.network.latent_dim - k))


def model_input(unit: Tensor, network: NetworkConfig) -> Tensor:
    """Convert unit-range images (N, 1 or 3, H, W) to network input (N, channels, S, S) in [-1, 1]."""
    return unit_to_model(resize(to_model_channels(unit, network.channels), (network.image_size, network.image_size)))
