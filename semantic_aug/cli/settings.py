"""``--set NAME=VALUE`` for any field of TrainConfig, or network.NAME for a field of NetworkConfig."""

import json
from collections.abc import Sequence
from dataclasses import MISSING, fields
from typing import Any

from semantic_aug.model.networks import NetworkConfig
from semantic_aug.trainer.config import TrainConfig

OPTIONS = ("init", "images", "batch", "accumulate", "sampling", "precision", "seed")  # have options of their own


def parse_settings(assignments: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields of TrainConfig and those of NetworkConfig that ``NAME=VALUE`` sets. Raises ValueError for others."""
    settings: dict[str, Any] = {}
    network: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        of_network = name.startswith("network.")
        known = {
            field.name: field.default
            for field in fields(NetworkConfig if of_network else TrainConfig)
            if field.default is not MISSING and field.name not in OPTIONS
        }
        key = name.removeprefix("network.")
        if not equals or key not in known:
            raise ValueError(f"--set takes NAME=VALUE, got {assignment!r}; names are {', '.join(known)}")
        (network if of_network else settings)[key] = _parse_value(name, text, known[key])
    return settings, network


def _parse_value(name: str, text: str, default: Any) -> Any:
    """Parse ``text`` as a value of the type of ``default``. None stands for a bool that is resolved later."""
    if isinstance(default, str):
        return text
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    kind = bool if default is None else type(default)
    if type(value) is not kind and not (kind is float and type(value) is int):
        expected = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
        raise ValueError(f"--set {name}: expected {expected}, got {text!r}")
    return value
