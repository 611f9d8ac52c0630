"""The checkpoint of a run, and whether it knows more than the classifier does.

What counts is what the classifier could have learnt from itself. A fair row has a checkpoint of the same images and
labels. One of more images without their labels is a row of its own. One that saw labels which the classifier does not
get is refused, unless it is asked for, and its rows say so.
"""

from pathlib import Path
from typing import Literal

import torch

from semantic_aug import Artifact
from semantic_aug.data.dataset import ImageSet
from semantic_aug.labels import label_table, same_names

Knowledge = Literal["the same", "more images", "more labels"]
LABELLED = ("class_weight", "feature_weight", "agreement_weight", "draw_weight")  # weights of losses that use labels


def load_artifact(checkpoint: str, data: ImageSet, *, more_labels: bool = False) -> Artifact:
    """The checkpoint of a classifier that is trained on ``data``.

    Raises ValueError where its classes are not those of ``data``, with both lists, and where it saw labels that the
    classifier does not get, unless ``more_labels``.
    """
    artifact = Artifact.from_pretrained(checkpoint)
    if not same_names(artifact.classes, data.classes):
        raise ValueError(f"the data has the classes {data.classes}, checkpoint {checkpoint} has {artifact.classes}")
    if compare_knowledge(artifact, data) == "more labels" and not more_labels:
        raise ValueError(
            f"checkpoint {checkpoint} saw labels that the classifier does not get: its statistics are of "
            f"{count_labels(artifact, data)} images, its networks of {count_images(artifact)}, and the classifier "
            f"trains on {data.counts()}; train it on the same images, or pass --more-labels, and the rows say so"
        )
    return artifact


def artifact_name(artifact: Artifact) -> str:
    """The name of its directory, or of the run's where that is called "checkpoint"."""
    directory = Path(artifact.directory or "in memory")
    return directory.parent.name if directory.name == "checkpoint" else directory.name


def compare_knowledge(artifact: Artifact, data: ImageSet) -> Knowledge:
    """What a checkpoint was trained on, compared with the images and labels of a classifier, by their numbers."""
    training = artifact.training.get("settings", {})
    more_images = count_images(artifact) > len(data)
    more_counts = any(n > own for n, own in zip(count_labels(artifact, data), data.counts(), strict=True))
    used_labels = any(training.get(name, 0) > 0 for name in LABELLED)
    # A training that started from another checkpoint knows what that one knew, which is not recorded.
    if more_counts or (more_images and used_labels) or training.get("init"):
        return "more labels"
    return "more images" if more_images else "the same"


def count_images(artifact: Artifact) -> int:
    """Images that its networks were trained on; those of its statistics where that is not recorded."""
    return artifact.training.get("images", int(artifact.statistics.count.sum()))


def count_labels(artifact: Artifact, data: ImageSet) -> list[int]:
    """Images of each class of ``data`` that its statistics were taken of."""
    table: torch.Tensor = label_table(data.classes, artifact.classes)
    return artifact.statistics.count[table].long().tolist()
