"""Figures that show an artifact at work, such as class counts, augmentations, strengths and directions.

``FIGURES`` are functions of an artifact and of images with the artifact's labels. They return data that can be drawn.
``seed`` determines everything that is drawn at random. The paper is arXiv 2411.17254.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from semantic_aug.data.dataset import ImageSet
from semantic_aug.figures import drawing
from semantic_aug.functional import direction_noise, semantic_augment_image
from semantic_aug.labels import indices_by_class
from semantic_aug.model.artifact import Artifact
from semantic_aug.model.facts import imbalance
from semantic_aug.model.runtime import LatentModel

DRAWS = 8  # augmentations of one image
PAIRS = 5
BALANCED = 10
STRENGTHS = (0.0, 0.1, 0.25, 0.35, 0.5, 1.0, 2.0)
DIRECTIONS = 3  # of each class
START = {"detail": "the image itself", "decode": "its reconstruction"}
DEVIATIONS = (-2.0, -1.0, 0.0, 1.0, 2.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """Named columns of images, each (N, C, H, W) uint8, and the names of their rows.

    ``group`` is the number of rows that belong together (None: all). A page may put groups side by side.
    """

    title: str
    caption: str
    columns: dict[str, Tensor]
    rows: list[str]
    group: int | None = None

    def picture(self) -> Image.Image:
        """Without title and caption."""
        return drawing.grid(self.columns, self.rows)


@dataclass(frozen=True, kw_only=True)
class Bars:
    """A number for each class."""

    title: str
    caption: str
    values: dict[str, int]

    def picture(self) -> Image.Image:
        """Without title and caption."""
        return drawing.bars(self.values)


def counts(artifact: Artifact, sources: ImageSet, *, per_class: int = 1, seed: int = 0) -> Bars:
    """Images per class, the most frequent first (the paper's Fig. 1)."""
    if sources.name is None:
        found, where = artifact.statistics.count, "that the checkpoint was trained on"
    else:
        found, where = torch.bincount(sources.labels, minlength=len(artifact.classes)), f"in {sources.name}"
    most_first = found.argsort(descending=True, stable=True).tolist()
    ratio = f"{imbalance(found):.3g}"
    balance = f"The largest class has {ratio} times as many as the smallest."
    return Bars(
        title="Images per class",
        caption=f"Images of each class {where}. {'The classes are balanced.' if ratio == '1' else balance}",
        values={artifact.classes[label]: int(found[label]) for label in most_first},
    )


def overview(artifact: Artifact, sources: ImageSet, *, per_class: int = 1, seed: int = 0) -> Grid:
    """Originals, their reconstructions, and several augmentations of each in both modes."""
    images, labels = _first(sources, per_class)
    return Grid(
        title="Overview",
        caption=f"From left to right: the original, its reconstruction, and augmentations at the recommended strength "
        f"{artifact.recommended.strength:g}. Mode detail adds only the change to the original. Mode decode shows the "
        f"decoded image, as in the paper. Every cell has its own noise.",
        columns=drawing.overview_columns(artifact, images, labels, seed=seed),
        rows=_names(artifact, labels),
    )


def augmentations(artifact: Artifact, sources: ImageSet, *, per_class: int = 1, seed: int = 0) -> Grid:
    """Sources beside several augmentations of each (the paper's Fig. 4)."""
    model = LatentModel.of(artifact)
    images, labels = _first(sources, per_class)
    generator = torch.Generator().manual_seed(seed)
    drawn = [_augment(model, images, labels, generator) for _ in range(DRAWS)]
    return Grid(
        title="Several augmentations of an image",
        caption=f"Each row starts with a source image. The other {DRAWS} are augmentations of it, "
        f"{_settings(artifact)}. The content of the image may change, but its class should not.",
        columns={"source": images} | drawing.numbered(drawn),
        rows=_names(artifact, labels),
    )


def pairs(artifact: Artifact, sources: ImageSet, *, per_class: int = 1, seed: int = 0) -> Grid:
    """Originals of each class, each with one augmentation to its right."""
    model = LatentModel.of(artifact)
    generator = torch.Generator().manual_seed(seed)
    chosen, labels = _random(sources, PAIRS, generator)
    columns = {}
    for number, index in enumerate(chosen.T, 1):
        columns[f"original\n{number}"] = sources.images[index]
        columns[f"augmented\n{number}"] = _augment(model, sources.images[index], labels, generator)
    return Grid(
        title="Originals and augmentations",
        caption=f"Images of each class, picked at random, each with one augmentation to its right, "
        f"{_settings(artifact)}.",
        columns=columns,
        rows=_names(artifact, labels),
    )


def balanced(artifact: Artifact, sources: ImageSet, *, per_class: int = 1, seed: int = 0) -> Grid:
    """Augmentations of images picked at random, equally many of every class (the paper's Fig. 5)."""
    model = LatentModel.of(artifact)
    generator = torch.Generator().manual_seed(seed)
    chosen, labels = _random(sources, BALANCED, generator)
    drawn = [_augment(model, sources.images[index], labels, generator) for index in chosen.T]
    return Grid(
        title="Balanced augmentations",
        caption=f"What a classifier sees if classes are balanced: augmentations of randomly picked images, equally "
        f"many of every class, {_settings(artifact)}.",
        columns=drawing.numbered(drawn),
        rows=_names(artifact, labels),
    )


def strengths(artifact: Artifact, sources: ImageSet, *, per_class: int = 1, seed: int = 0) -> Grid:
    """One image and one draw of noise per row, with the strength increasing from left to right."""
    model = LatentModel.of(artifact)
    images, labels = _first(sources, per_class)
    noise = torch.randn(len(images), artifact.network.latent_dim, generator=torch.Generator().manual_seed(seed))
    return Grid(
        title="Rising strength",
        caption=f"Each row is one image, moved by the same noise with increasing strength. The strength scales the "
        f"covariance of the class. In mode {artifact.recommended.mode}, strength 0 is "
        f"{START[artifact.recommended.mode]}. The recommended strength is {artifact.recommended.strength:g}.",
        columns={
            f"{strength:g}": _augment(model, images, labels, noise=noise, strength=strength) for strength in STRENGTHS
        },
        rows=_names(artifact, labels),
    )


def directions(artifact: Artifact, sources: ImageSet, *, per_class: int = 1, seed: int = 0) -> Grid:
    """Walks from an image of each class along the leading directions of the class's covariance."""
    model = LatentModel.of(artifact)
    images, labels = _first(sources, 1)
    k = min(DIRECTIONS, artifact.network.latent_dim)
    columns = {}
    for step in DEVIATIONS:
        noise = torch.cat([direction_noise(step * torch.eye(k), model, label) for label in labels.tolist()])
        repeated = images.repeat_interleave(k, 0), labels.repeat_interleave(k)
        columns[f"{step:+g}" if step else "0"] = _augment(model, *repeated, noise=noise, strength=1.0)
    return Grid(
        title="Leading directions",
        caption=f"An image of each class, moved along the {k} directions in which the latents of its class vary most. "
        f"These are the leading eigenvectors of the class's covariance. Each row is one direction, in standard "
        f"deviations. In mode {artifact.recommended.mode}, column 0 is {START[artifact.recommended.mode]}.",
        columns=columns,
        rows=[f"{name} {number}" for name in _names(artifact, labels) for number in range(1, k + 1)],
        group=k,
    )


def samples(artifact: Artifact, sources: ImageSet, *, per_class: int = 1, seed: int = 0) -> Grid:
    """New images of each class without a source image."""
    return Grid(
        title="New samples",
        caption="Decoded from the normal distribution of each class's latents, without a source image.",
        columns=drawing.samples_columns(artifact, seed=seed),
        rows=artifact.classes,
    )


Figure = Grid | Bars
# In the order of a page.
FIGURES: dict[str, Callable[..., Figure]] = {
    "pairs": pairs,
    "augmentations": augmentations,
    "strengths": strengths,
    "directions": directions,
    "balanced": balanced,
    "samples": samples,
    "overview": overview,
    "counts": counts,
}


def _augment(
    model: LatentModel,
    images: Tensor,
    labels: Tensor | int,
    generator: torch.Generator | None = None,
    *,
    noise: Tensor | None = None,
    strength: float | None = None,
) -> Tensor:
    """Augment with the artifact's recommended settings, except for ``strength`` if it is given."""
    if noise is None:
        noise = torch.randn(len(images), model.network.latent_dim, generator=generator)
    return semantic_augment_image(images, noise, model, labels, strength=strength)


def _first(sources: ImageSet, per_class: int) -> tuple[Tensor, Tensor]:
    chosen = drawing.first_of_each_class(sources.labels, per_class)
    return sources.images[chosen], sources.labels[chosen]


def _random(sources: ImageSet, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Indices (K, n) of images of every class present, and the classes (K,). They differ if a class has n images."""
    labels = sources.labels.unique()
    chosen = []
    for members in filter(len, indices_by_class(sources.labels)):
        shuffled = members[torch.randperm(len(members), generator=generator)]
        chosen.append(shuffled.repeat(-(-n // len(members)))[:n])
    return torch.stack(chosen), labels


def _names(artifact: Artifact, labels: Tensor) -> list[str]:
    return [artifact.classes[label] for label in labels.tolist()]


def _settings(artifact: Artifact) -> str:
    return f"at the recommended strength {artifact.recommended.strength:g} in mode {artifact.recommended.mode}"
