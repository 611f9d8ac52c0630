"""The best snapshot of a run. A training can get worse, above all a long one on few images."""

import shutil
from pathlib import Path

from semantic_aug.model.artifact import Artifact

LOSS = "held_out_loss"  # field of ``Artifact.training``: Eq. 3 on held-out images, L1 + lambda_p LPIPS


def keep_best(artifact: Artifact, loss: float, path: Path) -> None:
    """Save a snapshot's artifact to ``path`` if its loss is the lowest so far. All losses must have joined before.

    One of a later moment is replaced in any case: the run has been resumed from before it.
    """
    artifact.training[LOSS] = loss
    best = load_best(path)
    if best is None or loss < best.training[LOSS] or best.training["images_seen"] >= artifact.training["images_seen"]:
        artifact.save(path, overwrite=True, half=True)


def load_best(path: Path) -> Artifact | None:
    """The best snapshot so far, or None if there is none."""
    return Artifact.from_pretrained(path) if path.is_dir() else None


def remove_best(path: Path) -> None:
    """Delete the best snapshot, once the run's checkpoint is written."""
    shutil.rmtree(path, ignore_errors=True)
