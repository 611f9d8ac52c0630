"""What judges and distances say of one kind of image."""

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
    """What a judge is, and how it does on real held-out images.

    ``chance`` is the accuracy that its answers would have if they had nothing to do with the images, as in Cohen's
    kappa. It ``can_judge`` where the 95 % interval of its accuracy lies above that.
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
    """What a judge says of augmented images.

    Attributes:
        agree: share of the images of which it says what it says of the real image.
        accuracy: share of the images of which it says the true class.
        balanced: mean of that share over the true classes.
    """

    agree: Estimate
    accuracy: Estimate
    balanced: Estimate


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One kind of image on the plane.

    Attributes:
        point: how it was made; None for real images, reconstructions and RandAugment.
        diversity: mean LPIPS between two draws of one image; 0 where there is nothing to draw.
        affinity: by the name of the judge, of those that can judge.
        identity: mean distance between the embeddings of an image and of its augmentation, as a share of the mean
            distance between two real images; None where it was not measured.
    """

    point: Point | None
    diversity: Estimate
    affinity: dict[str, Affinity]
    identity: Estimate | None

    @property
    def strength(self) -> float:
        """Of the point; 0 without one."""
        return 0.0 if self.point is None else self.point.strength


def competence(judge: Judge, answers: Tensor, truth: Tensor) -> Competence:
    """From a judge's answers about real images and their true classes, both (n,) class indices of the judge."""
    right = answers == truth
    said, true = (torch.bincount(each, minlength=len(judge.classes)).double() / len(truth) for each in (answers, truth))
    chance = float(said @ true)
    return Competence(
        architecture=judge.architecture, images=judge.images, epochs=judge.epochs, accuracy=mean(right),
        balanced=balanced_mean(right, truth), chance=chance,
        can_judge=wilson_low(int(right.sum()), len(right)) > chance,
    )  # fmt: skip


def examine(judge: Judge, classes: Sequence[str], data: ImageSet, batch: int = 256) -> Competence:
    """``competence`` on real images, whose classes must be among ``classes``, which must be the judge's."""
    truth = judge.table(classes)[label_table(data.classes, classes)[data.labels]]
    answers = [
        judge.logits(data.batch(slice(start, start + batch)).to(judge.device)).argmax(1).cpu()
        for start in range(0, len(data), batch)
    ]
    return competence(judge, torch.cat(answers), truth)


def affinity(answers: Tensor, of_real: Tensor, truth: Tensor) -> Affinity:
    """From a judge's answers about augmentations (draws, n), about the real images (n,), and the true classes (n,)."""
    right = (answers == truth).double().mean(0)
    same = (answers == of_real).double().mean(0)
    return Affinity(agree=mean(same), accuracy=mean(right), balanced=balanced_mean(right, truth))


def identity(embedding: Tensor, of_real: Tensor) -> Estimate | None:
    """From embeddings of augmentations and of the real images, both (n, F); None where all real ones are the same."""
    strangers = torch.pdist(of_real.double()).mean()
    moved = (embedding.double() - of_real.double()).norm(dim=1)
    return mean(moved / strangers) if strangers > 0 else None


def measured(
    point: Point | None, found: Mapping[str, Tensor], of_real: Mapping[str, Tensor], truths: Mapping[str, Tensor]
) -> Measured:
    """One kind of image from its rows and those of the real images.

    ``found`` and ``of_real`` hold "diversity" (1, n), "embedding" (1, n, F) if it was measured, and a judge's answers
    (draws, n) under "judge NAME"; ``truths`` the true classes (n,) by the names of the judges that can judge.
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
