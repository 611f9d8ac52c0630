"""Decoded images, kept in a file and used again as long as the data has not changed."""

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
OLD_CACHES = 1  # kept beside the newest, so that training images stay when validation images are written


def stamp(source: Source) -> str:
    """A hash of the labels and of the files' names, sizes and times. It differs if the data has changed."""
    known_by = None if source.stamped else source.origin
    digest = hashlib.blake2b(json.dumps([known_by, source.classes, source.labels]).encode(), digest_size=16)
    for path in source.stamped:
        try:
            found = os.stat(path)
            file = (os.path.abspath(path), found.st_size, found.st_mtime_ns)
        except OSError:  # the file is missing; reading it will raise
            file = (os.path.abspath(path), -1, -1)
        digest.update(json.dumps(file).encode())
    return digest.hexdigest()


def cache_path(cache: str | Path, source: Source, channels: int, size: int, skip_bad: bool) -> Path:
    """The path of the cache file. Its name is a hash of everything that the content depends on."""
    key = json.dumps([CACHE_FORMAT, channels, size, skip_bad, stamp(source)]).encode()
    return Path(cache) / f"images-{hashlib.blake2b(key, digest_size=16).hexdigest()}.safetensors"


def read_cache(path: Path) -> tuple[Tensor, Tensor] | None:
    """Memory-map images and their numbers. Returns None if the file is missing or broken."""
    try:
        with safe_open(path, "pt") as file:
            images, kept = file.get_tensor("images"), file.get_tensor("kept")
    except (SafetensorError, OSError):
        return None
    with suppress(OSError):
        os.utime(path)  # because the oldest files are deleted first
    return images, kept


def write_cache(path: Path, images: Tensor, kept: Tensor) -> None:
    """Write atomically and delete older cache files. A failure is only a warning, because the images are in memory."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_whole({"images": images, "kept": kept}, path, {})
    except (SafetensorError, OSError) as error:
        warnings.warn(f"the decoded images cannot be kept in {path.parent} ({error})", stacklevel=3)
        return
    with suppress(OSError):  # another process may delete the same files
        others = [other for other in path.parent.glob("images-*.safetensors") if other != path]
        for old in sorted(others, key=os.path.getmtime)[:-OLD_CACHES]:
            old.unlink(missing_ok=True)
