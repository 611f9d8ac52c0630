"""The augmentation itself: encode, perturb, decode. Deterministic given its noise."""

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
from semantic_aug.perturb import NEEDS_LABELS, PERTURBATIONS


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
        model: on the device of ``image``; it has the shrinkage, the rank and the precision too.
        labels: class indices of the leading shape (...), or one for all; -1 (``POOLED``): the pooled covariance.
        strength: s >= 0, one for all or of the leading shape (...); None: as the artifact recommends.
        mode: "decode" returns G(z'), as the paper does; "detail" adds only the change, x + G(z') - G(mu), so that what
            the autoencoder cannot reproduce is kept and strength 0 is the identity; None: as the artifact recommends.
        perturbation: a name in ``perturb.PERTURBATIONS``.
        mu: the latents of these very images (..., d), where they are known; nothing is encoded then.
        reconstruction: G(mu) in [0, 1], (..., channels, S, S) as the networks take them, where it is known; mode
            "detail" then decodes z' alone.

    Raises TypeError where ``model`` is no ``LatentModel``, and ValueError for settings out of range: of tensors, where
    that can be seen without waiting for a device.

    Returns a new tensor with the shape, dtype and device of ``image``. No gradients flow. On plain tensors it can be
    compiled whole: ``torch.compile(semantic_augment_image, fullgraph=True)``.

    Example::

        model = LatentModel.of(Artifact.from_pretrained("fer2013-48"))
        images, noise = torch.rand(8, 3, 224, 224), torch.randn(8, model.network.latent_dim)
        augmented = semantic_augment_image(images, noise, model)  # (8, 3, 224, 224)
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
    device, asynchronous = image.device, image.is_cuda  # a copy to a GPU is not waited for
    noise = noise.to(device, torch.float32, non_blocking=asynchronous).expand(*leading, d).reshape(-1, d)
    labels = labels if isinstance(labels, Tensor) else torch.tensor(labels, device="cpu")
    labels = labels.to(device, non_blocking=asynchronous).expand(leading).reshape(-1)
    if isinstance(strength, Tensor):
        strength = strength.to(device, non_blocking=asynchronous).expand(leading).reshape(-1)
    unit = tensor_to_unit(image).reshape(-1, channels, height, width)
    with torch.no_grad(), torch.autocast(device.type, enabled=False):  # the caller's, if there is one, is not ours
        if mu is None:
            mu = model.encode(model_input(unit, model.network))
        else:
            mu = mu.to(device, torch.float32, non_blocking=asynchronous).expand(*leading, d).reshape(-1, d)
        z = PERTURBATIONS[perturbation](mu, labels, noise, model, strength)
        before, after = decode_pair(mu, z, labels, model, mode if reconstruction is None else "decode")
        if mode == "detail" and reconstruction is not None:
            before = reconstruction.to(device, torch.float32, non_blocking=asynchronous).reshape(after.shape)
        augmented = blend(unit, before, after)
        if perturbation == "interpolate":  # an image without a partner comes back as it was
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
    """G(mu), which mode "decode" does without, and G(z'): latents (N, d) => float32 (N, channels, S, S) in [0, 1].

    ``labels`` (N,), ``POOLED`` where a class is not known, are for a conditional G.
    """
    if mode == "decode":
        return None, model_to_unit(model.decode(z, labels))
    before, after = model_to_unit(model.decode(torch.cat([mu, z]), labels.repeat(2))).chunk(2)
    return before, after


def blend(unit: Tensor, before: Tensor | None, after: Tensor) -> Tensor:
    """Unit-range images (N, 1 or 3, H, W) with what the networks made of them: ``after`` (N, channels, S, S) itself,
    resized, or the change from ``before`` alone. Not clipped; the size and channels of ``unit``.
    """
    if before is None:
        height, width = unit.shape[-2:]
        return add_change(unit, resize(after, (height, width)) - to_model_channels(unit, after.shape[1]))
    return add_change(unit, after - before)


def direction_noise(deviations: Tensor, model: LatentModel, label: int = POOLED) -> Tensor:
    """Noise (..., d) with which ``semantic_augment_image`` at strength 1 walks along the directions of a class.

    ``deviations`` (..., k), k <= r: how far along each of the k leading directions of the class's covariance in
    ``model``, in standard deviations, so z' = mu + sum_i deviations_i sqrt(variance_i) direction_i. The directions are
    those of ``ClassStatistics.directions`` with the shrinkage of ``model``. Raises ValueError for more of them than
    the model has.
    """
    k, factor = deviations.shape[-1], model.factors[label]
    if k > factor.shape[1]:
        raise ValueError(f"expected at most {factor.shape[1]} directions, which the model has, got {k}")
    signs = column_signs(factor).to(deviations)
    return torch.nn.functional.pad(deviations * signs[:k], (0, model.network.latent_dim - k))


def model_input(unit: Tensor, network: NetworkConfig) -> Tensor:
    """Unit-range images (N, 1 or 3, H, W) => (N, channels, S, S) in [-1, 1], as networks of these sizes take them."""
    return unit_to_model(resize(to_model_channels(unit, network.channels), (network.image_size, network.image_size)))
