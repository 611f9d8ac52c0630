"""Files that are whole or not there, and PNG bytes."""

import glob
import io
import itertools
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

_COUNTER = itertools.count()


@contextmanager
def workplace(path: Path) -> Iterator[Path]:
    """A new directory beside ``path`` for what is to take its place; it is gone in the end, whatever happens.

    Its name holds the process, so that writers do not meet. What processes of this machine that were killed have left
    beside ``path`` is deleted first.
    """
    stem = f".{path.name[:100]}.{socket.gethostname()}"
    for left in path.parent.glob(f"{glob.escape(stem)}.*.part"):
        if not _runs(left.name.split(".")[-2].split("-")[0]):
            shutil.rmtree(left, ignore_errors=True)
    place = path.with_name(f"{stem}.{os.getpid()}-{next(_COUNTER)}.part")
    place.mkdir()
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _runs(process: str) -> bool:
    """Whether a process of this machine is there; True where that cannot be told."""
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (ValueError, OSError):
        return True
    return True


def save_whole(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Write a safetensors file: a crash at any moment leaves the old file or the new one."""
    with workplace(path) as place:
        temporary = place / "new"
        save_file(dict(tensors), temporary, metadata=dict(metadata))
        _wait_for_disk(temporary)
        os.replace(temporary, path)


def write_whole(content: bytes, path: Path, *, sync: bool = False) -> None:
    """As ``save_whole``, of any content. Without ``sync`` a power failure, not a crash, may leave an empty file."""
    with workplace(path) as place:
        write_by_way_of(place / "new", content, path, sync=sync)


def write_by_way_of(temporary: Path, content: bytes, path: Path, *, sync: bool = False) -> None:
    """As ``write_whole``, with a temporary file of the caller's, for one who writes thousands into one directory."""
    try:
        temporary.write_bytes(content)
        if sync:
            _wait_for_disk(temporary)
        os.replace(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _wait_for_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def png_bytes(picture: Image.Image) -> bytes:
    """A picture as the content of a PNG file."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
