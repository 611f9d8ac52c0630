"""The checkpoint of a run, and whether it knows more than the classifier.

A comparison is fair if the checkpoint was trained on the same images and labels as the classifier. A checkpoint that
was trained on more images, without using their labels, gets a separate row in the reports. A checkpoint that saw labels
which the classifier does not get is rejected, unless the user allows it. The reports mark its rows.
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
    """Load the checkpoint for a classifier that is trained on ``data``.

    Raises ValueError if its classes differ from those of ``data``, and the message contains both lists. Without
    ``more_labels`` it also raises ValueError if the checkpoint saw labels that the classifier does not get.
    """
    artifact = Artifact.from_pretrained(checkpoint)
    if not same_names(artifact.classes, data.classes):
        raise ValueError(f"the data has the classes {data.classes}, checkpoint {checkpoint} has {artifact.classes}")
    if compare_knowledge(artifact, data) == "more labels" and not more_labels:
        raise ValueError(
            f"checkpoint {checkpoint} saw labels that the classifier does not get: its statistics come from "
            f"{count_labels(artifact, data)} images per class and its networks from {count_images(artifact)} images, "
            f"but the classifier trains on {data.counts()}; train the checkpoint on the same images, or pass "
            f"--more-labels to allow it and mark its rows"
        )
    return artifact


def artifact_name(artifact: Artifact) -> str:
    """The name of the checkpoint's directory, or of the directory above if the first is called "checkpoint"."""
    directory = Path(artifact.directory or "in memory")
    return directory.parent.name if directory.name == "checkpoint" else directory.name


def compare_knowledge(artifact: Artifact, data: ImageSet) -> Knowledge:
    """Compare the training data of a checkpoint with that of a classifier, by the numbers of images and labels."""
    training = artifact.training.get("settings", {})
    more_images = count_images(artifact) > len(data)
    more_counts = any(n > own for n, own in zip(count_labels(artifact, data), data.counts(), strict=True))
    used_labels = any(training.get(name, 0) > 0 for name in LABELLED)
    # If the training started from another checkpoint, it is not recorded what that checkpoint saw.
    if more_counts or (more_images and used_labels) or training.get("init"):
        return "more labels"
    return "more images" if more_images else "the same"


def count_images(artifact: Artifact) -> int:
    """Number of images that the networks were trained on. If it is not recorded, the number in the statistics."""
    return artifact.training.get("images", int(artifact.statistics.count.sum()))


def count_labels(artifact: Artifact, data: ImageSet) -> list[int]:
    """Number of images in the checkpoint's statistics for each class of ``data``."""
    table: torch.Tensor = label_table(data.classes, artifact.classes)
    return artifact.statistics.count[table].long().tolist()
