"""Quality of an artifact on held-out images."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor

from semantic_aug import _distributed
from semantic_aug._random import seeded
from semantic_aug.data.dataset import ImageSet
from semantic_aug.evaluation import fid
from semantic_aug.evaluation.lpips import Perceptual
from semantic_aug.figures import drawing
from semantic_aug.functional import semantic_augment_image
from semantic_aug.images import bytes_to_model
from semantic_aug.labels import class_key, label_table
from semantic_aug.model.artifact import Artifact
from semantic_aug.model.recommended import MODES
from semantic_aug.model.runtime import LatentModel
from semantic_aug.model.statistics import POOLED

if TYPE_CHECKING:
    from semantic_aug.evaluation.classifier import Judge

STRENGTHS = (0.1, 0.25, 0.35, 0.5, 1.0)
COMPARED = 2000
HIGHEST_PSNR = 100.0  # dB, for a perfect reconstruction, because JSON has no infinity


@torch.no_grad()
def reconstruction(
    artifact: Artifact, data: ImageSet, perceptual: Perceptual | None = None, *, batch: int = 256
) -> dict[str, float]:
    """Mean and standard deviation over images of the L1 on [-1, 1] between x and G(mu(x)), and of LPIPS if given.

    With several processes, each takes a share of the images, here and in ``quality``, and all must call the function.
    Keys: ``images``, ``l1_mean``, ``l1_std``, ``lpips_mean``, ``lpips_std``.
    """
    errors = _errors(artifact, data, _labels(artifact, data, known=False), perceptual, batch)
    del errors["psnr"]
    return {"images": len(data)} | _mean_std(errors)


@torch.no_grad()
def quality(
    artifact: Artifact,
    data: ImageSet,
    *,
    judge: "Judge | None" = None,
    perceptual: Perceptual | None = None,
    strengths: Sequence[float] = STRENGTHS,
    compared: int = COMPARED,
    seed: int = 0,
    batch: int = 256,
    advance: Callable[[int], object] | None = None,
) -> dict[str, Any]:
    """Reconstruction, diversity, class agreement and realism of an artifact, as nested plain numbers (JSON-ready).

    Args:
        artifact: the artifact, on the device to work on. ``perceptual`` must be there too.
        data: held-out images with the artifact's size and channels. Classes are matched by name. Images of classes that
            the artifact does not know are perturbed with the pooled covariance and cannot be judged.
        judge: a judge. Without one, there is no ``agreement``, and ``realism`` does not use its features.
        perceptual: LPIPS. Without it, there is no LPIPS or ``diversity``, and ``realism`` does not use its features.
        strengths: strengths s of the augmentations.
        compared: maximum number of images, in a seeded draw, that are augmented, judged and compared with each other.
            The reconstruction error is measured on all images.
        seed: seed of the noise and of the subsets. The noise of an image depends on its position in ``data``, but not
            on ``batch``.
        batch: number of images computed at a time.
        advance: called after each batch with the number of images that were measured, ``count_images`` in all.

    The kinds of image are ``real``, ``reconstruction`` (G(mu(x))), ``sample`` (new images of the same classes, if the
    artifact knows them, drawn as by ``Artifact.sample``), and the augmentations ``decode`` and ``detail``, with an
    entry for each strength, such as "0.35". All are rounded to bytes as in training. Keys:

    - ``images``, ``compared``, ``seed``, and ``unknown_classes``: classes of ``data`` that the artifact does not know.
    - ``judge``: a description of the judge.
    - ``reconstruction``: ``l1_mean`` on [-1, 1], ``psnr_mean`` in dB, ``lpips_mean``, and ``_std`` over images.
    - ``diversity``: kind => mean LPIPS between two images made from the same one (0 for a reconstruction).
    - ``agreement``: kind => ``accuracy`` and ``balanced_accuracy`` (mean recall of the classes in ``data``) of the
      judge against the class of the source.
    - ``realism``: network that provides the features => kind => ``fid.distances`` to the real images.

    Raises ValueError for fewer than 4 images, a negative strength or images of another shape. With a judge, it also
    raises ValueError for classes that the artifact or the judge does not know.
    """
    _check(artifact, data, strengths)
    errors = _errors(artifact, data, _labels(artifact, data, known=False), perceptual, batch, advance)
    images = len(data)
    if images > compared:
        chosen = torch.randperm(images, generator=seeded(seed, "compared"))[:compared].sort().values
        data = data.subset(chosen)
    labels = _labels(artifact, data, known=judge is not None)
    missing = sorted({data.classes[label] for label in data.labels[labels == POOLED].tolist()})
    result: dict[str, Any] = {
        "images": images,
        "compared": len(data),
        "seed": seed,
        "unknown_classes": missing,
    }
    judged = labels
    if judge:
        judged = judge.table(artifact.classes)[labels]
        judge = judge.to(artifact.device)
        result["judge"] = {
            "network": judge.architecture,
            "accuracy": judge.accuracy,
            "images": judge.images,
            "epochs": judge.epochs,
            "seed": judge.seed,
        }
    result["reconstruction"] = _mean_std(errors)
    real: dict[str, Tensor] = {}
    model = LatentModel.of(artifact)
    for kind, settings in _kinds(strengths, samples=not missing).items():
        found = _look(model, data, labels, settings, judge, perceptual, seed, batch, advance)
        real = real or found
        if "diversity" in found:
            _put(result, ("diversity", *kind), round(float(found.pop("diversity").mean()), 6))
        if "predicted" in found:
            _put(result, ("agreement", *kind), agreement(found.pop("predicted"), judged))
        for network, features in found.items():
            figures = fid.distances(real[network], features, seed)
            _put(result, ("realism", network, *kind), {name: round(value, 6) for name, value in figures.items()})
    return result


def count_images(
    artifact: Artifact, data: ImageSet, *, strengths: Sequence[float] = STRENGTHS, compared: int = COMPARED
) -> int:
    """How many images ``quality`` measures: all for the reconstruction error, and those compared once for each kind."""
    known = bool((_labels(artifact, data, known=False) != POOLED).all())
    return len(data) + len(_kinds(strengths, samples=known)) * min(len(data), compared)


def agreement(predicted: Tensor, labels: Tensor) -> dict[str, float]:
    """``accuracy`` and ``balanced_accuracy``, the mean recall of the classes that occur in ``labels``; both (N,)."""
    predicted, labels = predicted.cpu(), labels.cpu()
    right = (predicted == labels).double()
    recalls = torch.stack([right[labels == label].mean() for label in labels.unique()])
    return {"accuracy": round(float(right.mean()), 6), "balanced_accuracy": round(float(recalls.mean()), 6)}


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """Peak signal-to-noise ratio on [0, 1] of each pair of images (N, C, H, W) in [-1, 1]: dB (N,), at most 100."""
    error = ((x - y) / 2).square().mean(dim=(1, 2, 3))
    return (-10 * error.log10()).clamp(max=HIGHEST_PSNR)


@torch.no_grad()
def picture(artifact: Artifact, data: ImageSet, judge: "Judge", *, seed: int = 0) -> Image.Image:
    """``drawing.strength_columns`` of the first image of each class, with the judge's verdict below each picture.

    A verdict for another class is red. Raises ValueError as ``quality`` does with a judge.
    """
    _check(artifact, data, drawing.STRENGTHS, least=1)
    labels = _labels(artifact, data, known=True)
    judged = judge.table(artifact.classes)[labels]
    judge = judge.to(artifact.device)
    chosen = drawing.first_of_each_class(labels)
    columns = drawing.strength_columns(artifact, data.images[chosen], labels[chosen], seed=seed)
    captions = {}
    for name, images in columns.items():
        shares, predicted = judge.probabilities(bytes_to_model(images)).cpu().max(1)
        captions[name] = [
            (f"{judge.classes[found][:10]} {share:.0%}", "black" if found == wanted else "red")
            for share, found, wanted in zip(shares.tolist(), predicted.tolist(), judged[chosen].tolist(), strict=True)
        ]
    return drawing.grid(columns, [artifact.classes[label] for label in labels[chosen].tolist()], captions)


Kind = tuple[str, ...]  # ("real",) or ("decode", "0.35")


def _kinds(strengths: Sequence[float], samples: bool) -> dict[Kind, dict[str, Any] | None]:
    """Kind of image => how ``semantic_augment_image`` makes it, or None for real images."""
    kinds: dict[Kind, dict[str, Any] | None] = {("real",): None}
    kinds["reconstruction",] = {"mode": "decode", "strength": 0.0}
    if samples:
        kinds["sample",] = {"mode": "decode", "strength": 1.0, "perturbation": "class-gaussian"}
    for mode in MODES:
        kinds |= {(mode, f"{strength:g}"): {"mode": mode, "strength": float(strength)} for strength in strengths}
    return kinds


def _look(
    model: LatentModel,
    data: ImageSet,
    labels: Tensor,
    settings: dict[str, Any] | None,
    judge: "Judge | None",
    perceptual: Perceptual | None,
    seed: int,
    batch: int,
    advance: Callable[[int], object] | None,
) -> dict[str, Tensor]:
    """Measure one kind of image made from ``data``. The results are on the CPU, with a row per image.

    They are ``predicted``, ``diversity``, and the features under the name of each network. A row depends only on its
    image, so processes can share the images.
    """
    names = [*(("judge", "predicted") if judge else ())]
    if perceptual:
        names += [fid.trunk_name(perceptual), *(("diversity",) if settings else ())]
    parts: dict[str, dict[int, Tensor]] = {name: {} for name in names}
    for part in _distributed.shares(len(data), batch, advance):
        images = data.images[part].to(model.device)
        found: dict[str, Tensor] = {}
        views = [images]
        if settings:
            noise = _noise(range(part.start, part.stop), model.network.latent_dim, seed)
            views = [
                semantic_augment_image(images, noise[view], model, labels[part], **settings)
                for view in range(2 if perceptual else 1)
            ]
        x, *second = (bytes_to_model(view) for view in views)
        if judge:
            features = judge.features(x)
            found |= {"judge": features, "predicted": judge.network[-1](features).argmax(1)}
        if perceptual:
            found[fid.trunk_name(perceptual)] = fid.trunk_features(perceptual, x)
        if perceptual and second:
            found["diversity"] = perceptual(x, second[0])
        for name, rows in found.items():
            parts[name][part.start] = rows.cpu()
    return {name: _distributed.gathered(rows) for name, rows in parts.items()}


def _noise(indices: range, dim: int, seed: int) -> Tensor:
    """Two draws of standard normal numbers for each image: (2, n, d)."""
    return torch.stack([torch.randn(2, dim, generator=seeded(seed, "quality", index)) for index in indices], dim=1)


def _errors(
    artifact: Artifact,
    data: ImageSet,
    labels: Tensor,
    perceptual: Perceptual | None,
    batch: int,
    advance: Callable[[int], object] | None = None,
) -> dict[str, Tensor]:
    """The errors of each image's reconstruction: ``l1`` on [-1, 1], ``psnr``, and ``lpips`` if given, each (N,)."""
    errors: dict[str, dict[int, Tensor]] = {name: {} for name in ("l1", "psnr", *(("lpips",) if perceptual else ()))}
    for part in _distributed.shares(len(data), batch, advance):
        x = data.batch(part).to(artifact.device)
        y = artifact.decode(artifact.encode(x), labels[part].to(x.device))
        errors["l1"][part.start] = (x - y).abs().mean(dim=(1, 2, 3))
        errors["psnr"][part.start] = psnr(x, y)
        if perceptual:
            errors["lpips"][part.start] = perceptual(x, y)
    return {name: _distributed.gathered(parts) for name, parts in errors.items()}


def _mean_std(errors: Mapping[str, Tensor]) -> dict[str, float]:
    figures: dict[str, float] = {}
    for name, values in errors.items():
        std, mean = torch.std_mean(values, correction=0)
        figures |= {f"{name}_mean": round(float(mean), 6), f"{name}_std": round(float(std), 6)}
    return figures


def _check(artifact: Artifact, data: ImageSet, strengths: Sequence[float], least: int = fid.LEAST) -> None:
    network = artifact.network
    expected = (network.channels, network.image_size, network.image_size)
    if len(data) < least or data.images.shape[1:] != expected:
        raise ValueError(
            f"expected {least} or more images of shape {expected}, got {len(data)} of {tuple(data.images.shape[1:])}"
        )
    wrong = [strength for strength in strengths if not (math.isfinite(strength) and strength >= 0)]
    if wrong:
        raise ValueError(f"strengths must be numbers of at least 0, got {wrong}")


def _labels(artifact: Artifact, data: ImageSet, *, known: bool) -> Tensor:
    """The artifact's class index of each image. Unknown classes give ``POOLED``, or ValueError if ``known`` is set."""
    names = {class_key(name) for name in artifact.classes}
    strangers = torch.tensor([class_key(name) not in names for name in data.classes])
    if known or not strangers.any():
        return label_table(data.classes, artifact.classes)[data.labels]
    table = torch.full((len(data.classes),), POOLED)
    table[~strangers] = label_table([n for n in data.classes if class_key(n) in names], artifact.classes)
    return table[data.labels]


def _put(tree: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value
