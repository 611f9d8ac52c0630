"""Options that several verbs share, with their help texts."""

import argparse
from collections.abc import Callable
from typing import Any

CHECKPOINT = (
    "a bundled name (fer2013-48, fashion-mnist-32, cifar10-lt-32), a directory, or a Hub id (user/repo[@revision])"
)
DATA = "an image folder (DATA/<class>/*.png, jpg, ...), torchvision:NAME, or another source listed in the docs"
WITH_EXAMPLES = "fashion-mnist-32"  # a bundled checkpoint with images that may be shown
DATA_OR_EXAMPLES = f"{DATA} (default: the examples of the checkpoint)"

SHARED: dict[str, dict[str, Any]] = {
    "checkpoint": {"metavar": "CHECKPOINT", "help": CHECKPOINT},
    "data": {"metavar": "DATA", "help": DATA},
    "--seed": {"metavar": "S", "type": int, "default": 0, "help": "seed of all random numbers (default: 0)"},
    "--device": {"metavar": "D", "help": "cpu, cuda, cuda:1 or mps (default: the best that this machine has)"},
    "--skip-bad": {"action": "store_true", "help": "leave out images that cannot be read"},
}

Add = Callable[..., argparse.Action]


def options_of(parser: argparse.ArgumentParser) -> Add:
    """``add_argument`` of a verb's parser. Options in ``SHARED`` need no description, but it can be overridden."""
    return lambda option, **own: parser.add_argument(option, **(SHARED.get(option, {}) | own))
