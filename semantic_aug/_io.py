"""Files that are whole or not there."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor


def save_whole(tensors: Mapping[str, Tensor], path: Path, temporary: Path, metadata: Mapping[str, str]) -> None:
    """Write ``path`` by way of ``temporary``, beside it: a crash at any moment leaves the old file or the new one."""
    try:
        save_file(dict(tensors), temporary, metadata=dict(metadata))
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_whole(content: bytes, path: Path, temporary: Path, *, sync: bool = False) -> None:
    """As ``save_whole``, of any content. Without ``sync`` a power failure, not a crash, may leave an empty file."""
    try:
        with temporary.open("wb") as file:
            file.write(content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
