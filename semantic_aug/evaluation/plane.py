"""The plane: how well augmentations keep the class (affinity) against how much they differ (diversity).

This follows Gontijo-Lopes et al. 2020, arXiv 2002.08973. Affinity says how judges, which are classifiers trained only
on real images, classify augmented images. Diversity is the LPIPS distance between two augmentations of one image.
RandAugment and isotropic noise are there for comparison.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from semantic_aug._random import seeded
from semantic_aug.data.dataset import ImageSet
from semantic_aug.evaluation.affinity import Competence, Measured, competence, measured
from semantic_aug.evaluation.classifier import Judge
from semantic_aug.evaluation.compare import Ahead, Reach, compare
from semantic_aug.evaluation.estimate import Estimate
from semantic_aug.evaluation.identity import Embed
from semantic_aug.evaluation.points import REAL, REFERENCES, Batch, Point, default_points
from semantic_aug.evaluation.probe import Probe, linear_probe
from semantic_aug.images import bytes_to_model
from semantic_aug.labels import label_table
from semantic_aug.model.artifact import Artifact
from semantic_aug.model.runtime import LatentModel

IMAGES = 420  # held-out images, which take about two minutes on one core
PROBED = 5_000  # maximum number of training images for the probe
FACES = 48  # maximum number of images whose identity is compared, because face embeddings are slow

Distance = Callable[[Tensor, Tensor], Tensor]  # two batches (N, C, S, S) in [-1, 1] => (N,)


@dataclass(frozen=True, kw_only=True)
class Plane:
    """The result of ``plane``.

    Attributes:
        images, seed: number of held-out images, and the seed of all draws.
        judges: the competence of each judge, by its name.
        measured: what was measured, by name: "real", "reconstruction", "RandAugment", and each point with a name such
            as "detail covariance 0.35".
        ahead: comparison of other perturbations with isotropic noise at equal diversity.
        reach: diversity at an agreement of ``compare.AGREE``.
        probe: result of the linear probe, or None without training images.
    """

    images: int
    seed: int
    judges: dict[str, Competence]
    measured: dict[str, Measured]
    ahead: list[Ahead]
    reach: list[Reach]
    probe: Probe | None

    def to_json(self) -> dict[str, Any]:
        """Nested plain numbers. An estimate is ``{"value": ..., "error": ...}`` with one standard error."""
        return _plain(self)


@torch.no_grad()
def plane(
    artifact: Artifact,
    held_out: ImageSet,
    judges: Mapping[str, Judge],
    lpips: Distance,
    *,
    points: Sequence[Point] | None = None,
    training: ImageSet | None = None,
    embed: Embed | None = None,
    seed: int = 0,
    batch: int = 128,
    say: Callable[[str], object] | None = None,
) -> Plane:
    """Measure an artifact on the plane.

    Args:
        artifact: the artifact, on the device to work on. ``lpips`` must work there too.
        held_out: two or more images of the artifact's size and channels. The names of their classes must be known to
            the artifact.
        judges: judges by name. Two judges with different architectures are a good choice.
        lpips: the distance that measures diversity, such as ``Perceptual()``.
        points: the points to measure (None: ``default_points(artifact)``).
        training: images that the artifact was trained on, for the linear probe. A seeded subset of them is used.
        embed: an embedding of faces, such as ``identity_embedding()``. It is applied to a seeded subset of the images.
        seed: seed of all draws. A draw depends on an image's position in ``held_out``, but not on ``batch``.
        batch: number of images computed at a time.
        say: called with a line of text after each batch.

    Every point makes two augmentations of each image, from the same noise as all other points, and rounds them to bytes
    as in training. Judgements are averaged within an image, and standard errors are over images.

    Raises ValueError for fewer than two images, images of another shape, and classes that the artifact or a judge does
    not know.

    >>> found = plane(artifact, held_out, {"resnet": judge}, Perceptual())  # doctest: +SKIP
    >>> found.measured["detail covariance 0.35"].affinity["resnet"].agree.value  # doctest: +SKIP
    0.719
    """
    _check(artifact, held_out)
    labels = label_table(held_out.classes, artifact.classes)[held_out.labels]
    truths = {name: judge.table(artifact.classes)[labels] for name, judge in judges.items()}
    on_device = {name: judge.to(artifact.device) for name, judge in judges.items()}
    points = list(dict.fromkeys(default_points(artifact) if points is None else points))
    faces = torch.randperm(len(held_out), generator=seeded(seed, "faces"))[:FACES].sort().values
    rows: dict[str, dict[str, list[Tensor]]] = defaultdict(lambda: defaultdict(list))  # kind of image => measure
    latents = []
    model = LatentModel.of(artifact)
    for part in _batches(len(held_out), batch):
        made = Batch(model, held_out.images[part], labels[part], part.start, seed)
        latents.append(made.mu.cpu())
        shown = faces[(faces >= part.start) & (faces < part.stop)] - part.start
        for kind, views in made.make(points):
            for name, values in _look(bytes_to_model(views), on_device, lpips, embed, shown).items():
                rows[kind][name].append(values.cpu())
        if say:
            say(f"measured {part.stop} of {len(held_out)} images")
    found = {kind: {name: torch.cat(parts, dim=1) for name, parts in of.items()} for kind, of in rows.items()}
    real = found[REAL]
    competences = {name: competence(judge, real[f"judge {name}"][0], truths[name]) for name, judge in judges.items()}
    able = {name: truth for name, truth in truths.items() if competences[name].can_judge}
    by_name = {str(point): point for point in points}
    kinds = {kind: measured(by_name.get(kind), found[kind], real, able) for kind in (*REFERENCES, *by_name)}
    ahead, reach = compare(kinds, list(able))
    return Plane(
        images=len(held_out),
        seed=seed,
        judges=competences,
        measured=kinds,
        ahead=ahead,
        reach=reach,
        probe=None if training is None else _probe(artifact, training, torch.cat(latents), labels, seed, batch),
    )


def draw(data: ImageSet, images: int, seed: int) -> ImageSet:
    """A seeded draw of at most ``images`` of the images, in their order."""
    return data.subset(torch.randperm(len(data), generator=seeded(seed, "held out"))[:images].sort().values)


def _check(artifact: Artifact, held_out: ImageSet) -> None:
    network = artifact.network
    expected = (network.channels, network.image_size, network.image_size)
    if len(held_out) < 2 or held_out.images.shape[1:] != expected:
        raise ValueError(
            f"expected 2 or more images of shape {expected}, got {len(held_out)} of {tuple(held_out.images.shape[1:])}"
        )


def _batches(total: int, batch: int) -> Iterator[slice]:
    for start in range(0, total, batch):
        yield slice(start, min(start + batch, total))


def _look(
    x: Tensor, judges: Mapping[str, Judge], lpips: Distance, embed: Embed | None, shown: Tensor
) -> dict[str, Tensor]:
    """Draws (1 or 2, n, C, S, S) in [-1, 1] => rows as ``affinity.measured`` takes them."""
    draws, n = x.shape[:2]
    rows = {"diversity": lpips(x[0], x[1])[None] if draws > 1 else torch.zeros(1, n)}
    for name, judge in judges.items():
        rows[f"judge {name}"] = judge.logits(x.flatten(0, 1)).argmax(1).reshape(draws, n)
    if embed is not None and len(shown):
        rows["embedding"] = embed(x[0, shown.to(x.device)])[None]
    return rows


def _probe(artifact: Artifact, training: ImageSet, mu: Tensor, labels: Tensor, seed: int, batch: int) -> Probe:
    training = draw(training, PROBED, seed)
    known = label_table(training.classes, artifact.classes)[training.labels]
    parts = [artifact.encode(training.batch(part).to(artifact.device)).cpu() for part in _batches(len(training), batch)]
    return linear_probe(torch.cat(parts), known, mu, labels)


def _plain(value: Any) -> Any:
    if isinstance(value, Estimate):
        return {"value": round(value.value, 6), "error": None if value.error is None else round(value.error, 6)}
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return round(value, 6) if isinstance(value, float) else value
