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
from semantic_aug.model.artifact import MODES, Artifact, Mode
from semantic_aug.model.statistics import POOLED, Shrinkage
from semantic_aug.perturb import NEEDS_LABELS, PERTURBATIONS


def semantic_augment_image(
    image: Tensor,
    noise: Tensor,
    artifact: Artifact,
    labels: Tensor | int = POOLED,
    *,
    strength: float | Tensor = 0.35,
    mode: Mode = "detail",
    perturbation: str = "covariance",
    shrinkage: Shrinkage = "oas",
    rank: int | None = None,
    dtype: torch.dtype | None = None,
    mu: Tensor | None = None,
    reconstruction: Tensor | None = None,
) -> Tensor:
    """Augment images (Eq. 4): x' = G(mu(x) + sqrt(s) L_c r).

    Args:
        image: (..., C, H, W), uint8 or floating point in [0, 1], C = 1 or 3, any size.
        noise: r, standard normal numbers (..., d), broadcast over the leading dimensions of ``image``.
        artifact: on the device of ``image``.
        labels: class indices of the leading shape (...), or one for all; -1 (``POOLED``): the pooled covariance.
        strength: s >= 0, one for all or of the leading shape (...).
        mode: "decode" returns G(z'), as the paper does; "detail" adds the change alone, x + G(z') - G(mu), so that
            what the autoencoder cannot reproduce is kept and strength 0 is the identity.
        perturbation: a name in ``perturb.PERTURBATIONS``.
        shrinkage: of the covariances, as in ``ClassStatistics.covariance``.
        rank: how many leading directions of each covariance are used, 1..d (None: all).
        dtype: bfloat16 or float16 runs the networks under autocast; None: float32.
        mu: the latents of these very images (..., d), where they are known; nothing is encoded then.
        reconstruction: G(mu) in [0, 1], (..., channels, S, S) as the artifact's networks take them, where it is known;
            mode "detail" then decodes z' alone.

    Raises ValueError for settings out of range: of tensors, where that can be seen without waiting for a device.

    Returns a new tensor with the shape, dtype and device of ``image``. No gradients flow. On plain tensors it can be
    compiled whole: ``torch.compile(semantic_augment_image, fullgraph=True)``, once ``artifact.statistics`` is warm
    (``statistics.factors(shrinkage, rank, device)`` called before).
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {MODES}, got {mode!r}")
    if perturbation not in PERTURBATIONS:
        raise ValueError(f"perturbation must be one of {tuple(PERTURBATIONS)}, got {perturbation!r}")
    *leading, channels, height, width = image.shape
    check_channels(image)
    _check_labels(labels, artifact.statistics.num_classes, perturbation)
    _check_strength(strength)
    if not image.numel():
        return image.clone()
    d = artifact.network.latent_dim
    device, asynchronous = image.device, image.is_cuda  # a copy to a GPU is not waited for
    noise = noise.to(device, torch.float32, non_blocking=asynchronous).expand(*leading, d).reshape(-1, d)
    labels = labels if isinstance(labels, Tensor) else torch.tensor(labels, device="cpu")
    labels = labels.to(device, non_blocking=asynchronous).expand(leading).reshape(-1)
    if isinstance(strength, Tensor):
        strength = strength.to(device, non_blocking=asynchronous).expand(leading).reshape(-1)
    unit = tensor_to_unit(image).reshape(-1, channels, height, width)
    autocast = torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)
    with torch.no_grad(), torch.autocast(device.type, enabled=False):  # the caller's, if there is one, is not ours
        if mu is None:
            with autocast:
                mu = artifact.encode(model_input(unit, artifact)).float()
        else:
            mu = mu.to(device, torch.float32, non_blocking=asynchronous).expand(*leading, d).reshape(-1, d)
        z = PERTURBATIONS[perturbation](mu, labels, noise, artifact.statistics, strength, shrinkage, rank)
        with autocast:
            before, after = decoded(mu, z, artifact, mode if reconstruction is None else "decode")
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


def decoded(mu: Tensor, z: Tensor, artifact: Artifact, mode: Mode) -> tuple[Tensor | None, Tensor]:
    """G(mu), which mode "decode" does without, and G(z'): latents (N, d) => float32 (N, channels, S, S) in [0, 1]."""
    if mode == "decode":
        return None, model_to_unit(artifact.decode(z).float())
    before, after = model_to_unit(artifact.decode(torch.cat([mu, z])).float()).chunk(2)
    return before, after


def blend(unit: Tensor, before: Tensor | None, after: Tensor) -> Tensor:
    """Unit-range images (N, 1 or 3, H, W) with what the networks made of them: ``after`` (N, channels, S, S) itself,
    resized, or the change from ``before`` alone. Not clipped; the size and channels of ``unit``.
    """
    if before is None:
        height, width = unit.shape[-2:]
        return add_change(unit, resize(after, (height, width)) - to_model_channels(unit, after.shape[1]))
    return add_change(unit, after - before)


def direction_noise(deviations: Tensor, artifact: Artifact, label: int = POOLED) -> Tensor:
    """Noise (..., d) with which ``semantic_augment_image`` at strength 1 walks along the directions of a class.

    ``deviations`` (..., k), k <= d: how far along each of the k leading ``ClassStatistics.directions``, in standard
    deviations, so z' = mu + sum_i deviations_i sqrt(variance_i) direction_i. The artifact's own shrinkage is used.
    """
    k, d = deviations.shape[-1], artifact.network.latent_dim
    if k > d:
        raise ValueError(f"expected at most {d} directions, the length of a latent, got {k}")
    factor = artifact.statistics.factor(label, artifact.shrinkage).double()
    _, vectors = artifact.statistics.directions(label, artifact.shrinkage)
    signs = (factor * vectors).sum(0).sign().to(deviations)  # the columns of a factor are directions of either sign
    return torch.nn.functional.pad(deviations * signs[:k], (0, d - k))


def model_input(unit: Tensor, artifact: Artifact) -> Tensor:
    """Unit-range images (N, 1 or 3, H, W) => (N, channels, S, S) in [-1, 1], as the artifact's networks take them."""
    size = artifact.network.image_size
    return unit_to_model(resize(to_model_channels(unit, artifact.network.channels), (size, size)))
