"""Decoded images that are kept in a file, and used again while the data has not changed."""

import hashlib
import json
import os
import warnings
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from semantic_aug._io import save_whole
from semantic_aug.data.source import Source

CACHE_FORMAT = 1
OLD_CACHES = 1  # kept beside the newest: of the training images, when the validation images are written


def stamp(source: Source) -> str:
    """A hash of the labels, and of the names, sizes and times of the files: another one where the data has changed."""
    known_by = None if source.stamped else source.origin
    digest = hashlib.blake2b(json.dumps([known_by, source.classes, source.labels]).encode(), digest_size=16)
    for path in source.stamped:
        try:
            found = os.stat(path)
            file = (os.path.abspath(path), found.st_size, found.st_mtime_ns)
        except OSError:  # not there, which reading will tell
            file = (os.path.abspath(path), -1, -1)
        digest.update(json.dumps(file).encode())
    return digest.hexdigest()


def cache_path(cache: str | Path, source: Source, channels: int, size: int, skip_bad: bool) -> Path:
    """Name of the cache file: a hash of all that its content depends on."""
    key = json.dumps([CACHE_FORMAT, channels, size, skip_bad, stamp(source)]).encode()
    return Path(cache) / f"images-{hashlib.blake2b(key, digest_size=16).hexdigest()}.safetensors"


def read_cache(path: Path) -> tuple[Tensor, Tensor] | None:
    """Images and their numbers, memory-mapped; None where the file is not there or broken."""
    try:
        with safe_open(path, "pt") as file:
            images, kept = file.get_tensor("images"), file.get_tensor("kept")
    except (SafetensorError, OSError):
        return None
    with suppress(OSError):
        os.utime(path)  # the oldest are deleted first
    return images, kept


def write_cache(path: Path, images: Tensor, kept: Tensor) -> None:
    """Write atomically and delete older cache files; a warning where that fails, as the images are there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_whole({"images": images, "kept": kept}, path, {})
    except (SafetensorError, OSError) as error:
        warnings.warn(f"the decoded images cannot be kept in {path.parent} ({error})", stacklevel=3)
        return
    with suppress(OSError):  # another process may delete the same ones
        others = [other for other in path.parent.glob("images-*.safetensors") if other != path]
        for old in sorted(others, key=os.path.getmtime)[:-OLD_CACHES]:
            old.unlink(missing_ok=True)
