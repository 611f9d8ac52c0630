"""Atomic writing of files, and PNG bytes."""

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
    """A temporary directory beside ``path``, in which its replacement is prepared. It is always removed in the end.

    Its name contains the process id, so that two writers never share one. Directories left by killed processes of this
    machine are deleted first.
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
    """Whether a process of this machine is running. True if that cannot be determined."""
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (ValueError, OSError):
        return True
    return True


def save_whole(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Write a safetensors file. A crash at any moment leaves either the old file or the new one."""
    with workplace(path) as place:
        temporary = place / "new"
        save_file(dict(tensors), temporary, metadata=dict(metadata))
        _wait_for_disk(temporary)
        os.replace(temporary, path)


def write_whole(content: bytes, path: Path, *, sync: bool = False) -> None:
    """Write any content as ``save_whole`` does.

    Without ``sync``, a power failure may leave an empty file, but a crash of the process cannot.
    """
    with workplace(path) as place:
        write_by_way_of(place / "new", content, path, sync=sync)


def write_by_way_of(temporary: Path, content: bytes, path: Path, *, sync: bool = False) -> None:
    """Do the same as ``write_whole`` with the caller's temporary file, to write thousands of files in a directory."""
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
    """Encode a picture as PNG."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
