"""The judgements and distances for one kind of image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from semantic_aug.data.dataset import ImageSet
from semantic_aug.evaluation.classifier import Judge
from semantic_aug.evaluation.estimate import Estimate, balanced_mean, mean, wilson_low
from semantic_aug.evaluation.points import Point
from semantic_aug.labels import label_table


@dataclass(frozen=True, kw_only=True)
class Competence:
    """A description of a judge, and its performance on real held-out images.

    ``chance`` is the accuracy that its answers would have if they did not depend on the images, as in Cohen's kappa. It
    ``can_judge`` if the 95 % interval of its accuracy is above that.
    """

    architecture: str
    images: int
    epochs: int
    accuracy: Estimate
    balanced: Estimate
    chance: float
    can_judge: bool


@dataclass(frozen=True, kw_only=True)
class Affinity:
    """How a judge classifies augmented images.

    Attributes:
        agree: fraction of images for which its answer is the same as for the real image.
        accuracy: fraction of images for which its answer is the true class.
        balanced: mean of that fraction over the true classes.
    """

    agree: Estimate
    accuracy: Estimate
    balanced: Estimate


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One kind of image on the plane.

    Attributes:
        point: how the images were made. None for real images, reconstructions and RandAugment.
        diversity: mean LPIPS between two draws of one image, or 0 if nothing is drawn.
        affinity: affinity by the name of each judge that can judge.
        identity: mean distance between the embeddings of an image and of its augmentation, as a fraction of the mean
            distance between two real images. None if it was not measured.
    """

    point: Point | None
    diversity: Estimate
    affinity: dict[str, Affinity]
    identity: Estimate | None

    @property
    def strength(self) -> float:
        """The strength of the point, or 0 without a point."""
        return 0.0 if self.point is None else self.point.strength


def competence(judge: Judge, answers: Tensor, truth: Tensor) -> Competence:
    """Compute the competence from a judge's answers for real images and their true classes, both (n,) class indices."""
    answers, truth = answers.cpu(), truth.cpu()
    right = answers == truth
    said, true = (torch.bincount(each, minlength=len(judge.classes)).double() / len(truth) for each in (answers, truth))
    chance = float(said @ true)
    return Competence(
        architecture=judge.architecture,
        images=judge.images,
        epochs=judge.epochs,
        accuracy=mean(right),
        balanced=balanced_mean(right, truth),
        chance=chance,
        can_judge=wilson_low(int(right.sum()), len(right)) > chance,
    )


def examine(judge: Judge, classes: Sequence[str], data: ImageSet, batch: int = 256) -> Competence:
    """``competence`` on real images. Their classes must be among ``classes``, which must be the judge's classes."""
    truth = judge.table(classes)[label_table(data.classes, classes)[data.labels]]
    answers = [
        judge.logits(data.batch(slice(start, start + batch)).to(judge.device)).argmax(1).cpu()
        for start in range(0, len(data), batch)
    ]
    return competence(judge, torch.cat(answers), truth)


def affinity(answers: Tensor, of_real: Tensor, truth: Tensor) -> Affinity:
    """Compute the affinity from a judge's answers for augmentations (draws, n), those for the real images (n,), and the
    true classes (n,).
    """
    right = (answers == truth).cpu().double().mean(0)
    same = (answers == of_real).cpu().double().mean(0)
    return Affinity(agree=mean(same), accuracy=mean(right), balanced=balanced_mean(right, truth))


def identity(embedding: Tensor, of_real: Tensor) -> Estimate | None:
    """Compare the embeddings of augmentations and of real images, both (n, F). None if all real ones are the same."""
    embedding, of_real = embedding.cpu().double(), of_real.cpu().double()
    strangers = torch.pdist(of_real).mean()
    moved = (embedding - of_real).norm(dim=1)
    return mean(moved / strangers) if strangers > 0 else None


def measured(
    point: Point | None, found: Mapping[str, Tensor], of_real: Mapping[str, Tensor], truths: Mapping[str, Tensor]
) -> Measured:
    """Summarise one kind of image from its rows and those of the real images.

    ``found`` and ``of_real`` hold "diversity" (1, n), "embedding" (1, n, F) if it was measured, and a judge's answers
    (draws, n) under "judge NAME". ``truths`` has the true classes (n,) by the name of each judge that can judge.
    """
    embedding = found.get("embedding")
    return Measured(
        point=point,
        diversity=mean(found["diversity"][0]),
        affinity={
            name: affinity(found[f"judge {name}"], of_real[f"judge {name}"][0], truth) for name, truth in truths.items()
        },
        identity=None if embedding is None else identity(embedding[0], of_real["embedding"][0]),
    )
