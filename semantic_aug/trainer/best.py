"""The best snapshot of a run. A training can get worse, above all a long one on few images.

Only snapshots of the part of the run in which the learning rate falls are compared. When the losses that keep the class
join, the reconstruction gets worse at first, and an earlier snapshot would win without what they teach.
"""

import shutil
import warnings
from pathlib import Path

from semantic_aug._io import refuse_link
from semantic_aug.model.artifact import Artifact
from semantic_aug.model.format import ArtifactError
from semantic_aug.model.hub import previous

LOSS = "held_out_loss"  # field of ``Artifact.training``: Eq. 3 on held-out images, L1 + lambda_p LPIPS


def keep_best(artifact: Artifact, loss: float, path: Path) -> None:
    """Save a snapshot's artifact to ``path`` if its loss is the lowest so far.

    One of a later moment is replaced in any case: the run has been resumed from before it.
    """
    refuse_link(path)
    artifact.training[LOSS] = loss
    best = load_best(path)
    if best is None or loss < best.training[LOSS] or best.training["images_seen"] >= artifact.training["images_seen"]:
        artifact.save(path, overwrite=True, half=True)


def load_best(path: Path) -> Artifact | None:
    """The best snapshot so far, or None if there is none. Warns of a damaged one, which counts as none."""
    try:
        best = Artifact.from_pretrained(path)  # also finds one whose replacement was interrupted
        if not all(type(best.training.get(name)) in (int, float) for name in (LOSS, "images_seen")):
            raise ArtifactError(f"{path}: its training lacks {LOSS} or images_seen")
    except FileNotFoundError:
        return None
    except ArtifactError as error:
        warnings.warn(f"{error}; it is no longer the best snapshot", stacklevel=2)
        return None
    return best


def remove_best(path: Path) -> None:
    """Delete the best snapshot, once the run's checkpoint is written."""
    for folder in (path, previous(path)):
        shutil.rmtree(folder, ignore_errors=True)
