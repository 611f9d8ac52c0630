"""The settings of a run with their defaults, and the version of the code. Together they identify a run."""

import math
from collections.abc import Mapping
from typing import Any

from semantic_aug import Artifact
from semantic_aug.model.recommended import MODES

from .arms import Arm
from .checkpoint import artifact_name

# Increase the version with every change that affects the result of a run. This includes the training loop, the random
# numbers, the networks, the bases, the arms, the figures, and how data is cut and held out. Runs with different
# versions are different runs.
VERSION = 1

COMMON: dict[str, Any] = {
    "size": 48,
    "channels": 1,
    "precision": "fp32",
    "batch": 128,
    "optimiser": "sgd-nesterov",
    "learning_rate": 0.1,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "schedule": "one-cycle",  # linear, from 0 to the learning rate and back to 0
    "warm_up": 0.2,  # fraction of the training during which the learning rate rises
    "crop": "flip-crop",  # the base augmentation of every arm
}
# Settings that count the last epochs, in which an arm leaves something out.
AT_THE_END = ("clean_epochs", "real_epochs")
# Setting => the allowed values, or a type and a closed range. The package checks the settings that it defines.
ALLOWED: dict[str, tuple[Any, ...]] = {
    "size": (int, 16, 1024),
    "channels": (1, 3),
    "precision": ("fp32", "bf16"),
    "batch": (int, 2, math.inf),
    "optimiser": ("sgd-nesterov",),
    "learning_rate": (float, 1e-6, 100),
    "momentum": (float, 0, 1),
    "weight_decay": (float, 0, 1),
    "schedule": ("one-cycle",),
    "warm_up": (float, 1e-6, 1 - 1e-6),
    "crop": ("flip-crop", "none"),
    "clean_epochs": (int, 0, math.inf),
    "real_epochs": (int, 0, math.inf),
    "magnitude": (int, 0, 30),
    "alpha": (float, 1e-6, math.inf),
    "cmo_p": (float, 0, 1),
    "lambda0": (float, 0, math.inf),
    "neighbours": (int, 1, math.inf),
    "tie": (float, 0, math.inf),
    "redraw": (int, 0, math.inf),
    "mode": MODES,
    "p": (float, 0, 1),
    "strength": (float, 0, math.inf),
}


def resolve(arm: Arm, base: str, changed: Mapping[str, Any], artifact: Artifact | None = None) -> dict[str, Any]:
    """All settings of a run, with the name and the fingerprint of its checkpoint.

    In the last ``clean_epochs`` an arm uses the base augmentation alone. In the last ``real_epochs`` it leaves out the
    parts that use a checkpoint, and keeps the others.

    With the base "balanced", ``redraw`` is 0 unless ``changed`` says otherwise. A rare image is then used many times in
    an epoch, and it should be augmented differently each time.

    Raises ValueError for a setting that the arm does not have, and for an invalid value.
    """
    settings = COMMON | arm.settings | ({"clean_epochs": 0} if arm.augments else {})
    settings |= {"real_epochs": 0} if arm.uses_checkpoint else {}
    if base == "balanced" and "redraw" in settings:
        settings["redraw"] = 0
    unknown = [name for name in changed if name not in settings]
    if unknown:
        raise ValueError(f"arm {arm.name!r} has no setting {unknown[0]!r}; it has {', '.join(settings)}")
    settings |= changed
    if arm.uses_checkpoint and artifact is not None:
        settings |= {name: getattr(artifact.recommended, name) for name, value in settings.items() if value is None}
        settings |= {"checkpoint": artifact_name(artifact), "fingerprint": artifact.fingerprint[:12]}
    return {name: check_setting(name, value) for name, value in settings.items()}


def check_setting(name: str, value: Any) -> Any:
    """Check a value and return it. It becomes a float if the setting is one, so that 1 and 1.0 are the same."""
    allowed = ALLOWED.get(name)
    if allowed is None or value is None:
        return value
    if not isinstance(allowed[0], type):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {allowed}, got {value!r}")
        return value
    kind, low, high = allowed
    if not isinstance(value, int | kind) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{name} must be a number ({kind.__name__}) in [{low:g}, {high:g}], got {value!r}")
    return kind(value)
