"""Decoded images, kept in a file and used again as long as the data has not changed."""

import hashlib
import json
import os
import warnings
from contextlib import suppress
from pathlib import Path

from torch import Tensor

from semantic_aug._files import FileError, Spec, read_tensors
from semantic_aug._io import own_folder, save_with_digest
from semantic_aug.data.source import Source

CACHE_FORMAT = 2  # 1 had no digest
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


def read_cache(path: Path, total: int, channels: int, size: int) -> tuple[Tensor, Tensor] | None:
    """Memory-map images and their numbers among ``total``. Returns None if the file is missing or damaged."""
    spec: Spec = {"images": ((None, channels, size, size), ("U8",)), "kept": ((None,), ("I64",))}
    try:
        tensors, _ = read_tensors(path, lambda _: spec)
    except (FileError, OSError):
        return None
    images, kept = tensors["images"], tensors["kept"]
    if len(images) != len(kept) or not len(kept) or kept.min() < 0 or kept.max() >= total or kept.diff().lt(1).any():
        return None
    with suppress(OSError):
        os.utime(path)  # because the oldest files are deleted first
    return images, kept


def write_cache(path: Path, images: Tensor, kept: Tensor) -> None:
    """Write atomically and delete older cache files. A failure is only a warning, because the images are in memory."""
    try:
        own_folder(path.parent)
        save_with_digest({"images": images, "kept": kept}, path, {})
    except (ValueError, OSError) as error:
        warnings.warn(f"the decoded images cannot be kept in {path.parent} ({error})", stacklevel=3)
        return
    with suppress(OSError):  # another process may delete the same files
        others = [other for other in path.parent.glob("images-*.safetensors") if other != path]
        for old in sorted(others, key=os.path.getmtime)[:-OLD_CACHES]:
            old.unlink(missing_ok=True)
