"""Atomic writing of files, locks of outputs, and PNG bytes."""

import errno
import glob
import io
import itertools
import os
import re
import shutil
import socket
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from semantic_aug._files import DIGEST, digest_of

_COUNTER = itertools.count()
PATIENCE = 10.0  # seconds, far longer than a few renames take


@contextmanager
def workplace(path: Path) -> Iterator[Path]:
    """A temporary directory beside ``path``, in which its replacement is prepared. It is always removed in the end.

    Its name contains the process id, so that two writers never share one. What ``remove_left`` finds is deleted first.
    Errors about it and the files in it, such as a full disk, are raised as OSError with ``path``.
    """
    remove_left(path)
    place = path.with_name(f"{_stem(path)}.{os.getpid()}-{next(_COUNTER)}.part")
    try:
        with errors_about(path, place):
            place.mkdir(mode=0o700)
            yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def remove_left(path: Path) -> None:
    """Delete the temporary directories for ``path`` that killed processes of this machine left."""
    _remove_left(path.parent, glob.escape(_stem(path)))


def remove_all_left(folder: Path) -> None:
    """Do the same for every file and directory below ``folder``."""
    _remove_left(folder, f"**/.*.{glob.escape(socket.gethostname())}")


def _remove_left(folder: Path, stem: str) -> None:
    for left in [*folder.glob(f"{stem}.*.part")]:
        if not _runs(left.name.split(".")[-2].split("-")[0]):
            shutil.rmtree(left, ignore_errors=True)


def _stem(path: Path) -> str:
    return f".{path.name[:100]}.{socket.gethostname()}"


@contextmanager
def errors_about(path: Path, place: Path | None = None) -> Iterator[None]:
    """Raise errors that name no file, or one below ``place``, as an OSError about ``path``, such as of a full disk."""
    try:
        yield
    except SafetensorError as error:  # the text of which ends in "(os error 28)"
        number = re.search(r"os error (\d+)", str(error))
        code = int(number[1]) if number else errno.EIO
        raise OSError(code, os.strerror(code) if number else str(error), str(path)) from error
    except OSError as error:
        named = error.filename is not None and not (place and str(error.filename).startswith(str(place)))
        if error.errno is None or named:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def _runs(process: str) -> bool:
    """Whether a process of this machine is running. True if that cannot be determined."""
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (ValueError, OSError):
        return True
    return True


def save_whole(
    tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str], *, overwrite: bool = True
) -> None:
    """Write a safetensors file. A crash at any moment leaves either the old file or the new one.

    Without ``overwrite``, raises FileExistsError if the file exists when everything is written.
    """
    with workplace(path) as place:
        temporary = place / "new"
        save_file(dict(tensors), temporary, metadata=dict(metadata))
        _wait_for_disk(temporary)
        if overwrite:
            os.replace(temporary, path)
        else:
            _publish(temporary, path)


def _publish(temporary: Path, path: Path) -> None:
    """Rename a file, but not over another one."""
    try:
        os.link(temporary, path)
    except OSError as error:
        if isinstance(error, FileExistsError) or path.exists():
            raise FileExistsError(f"{path} exists: another process has written it meanwhile") from error
        os.replace(temporary, path)  # on a file system without hard links


def save_with_digest(
    tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str], *, overwrite: bool = True
) -> None:
    """Do the same as ``save_whole``, with a digest of everything, which ``_files.read_tensors`` checks."""
    save_whole({**tensors, DIGEST: digest_of(tensors, metadata)}, path, metadata, overwrite=overwrite)


def write_whole(content: bytes, path: Path, *, sync: bool = False) -> None:
    """Write any content as ``save_whole`` does.

    Without ``sync``, a power failure may leave an empty file, but a crash of the process cannot.
    """
    with workplace(path) as place:
        write_by_way_of(place / "new", content, path, sync=sync)


def write_by_way_of(temporary: Path, content: bytes, path: Path, *, sync: bool = False) -> None:
    """Do the same as ``write_whole`` with the caller's temporary file, to write thousands of files in a directory."""
    try:
        with errors_about(path, temporary):
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


def own_folder(folder: Path) -> Path:
    """Make a folder of an output, unless it is there. Raises ValueError for a link, whose target may be anybody's."""
    refuse_link(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def refuse_link(folder: Path) -> None:
    """Raise ValueError for a link."""
    if folder.is_symlink():
        raise ValueError(f"{folder} is a link to {os.readlink(folder)}, expected a folder; remove the link")


def open_to_append(path: Path) -> io.BufferedWriter:
    """Open a file of an output. Raises ValueError for a link, a named pipe or a device."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        file = open(os.open(path, flags, 0o666), "ab")  # noqa: SIM115 (the caller closes it)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO):
            raise
        raise ValueError(f"{path} is a link or a named pipe, expected a file; remove it") from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ValueError(f"{path} is a named pipe or a device, expected a file; remove it")
    return file


@contextmanager
def in_turn(folder: Path) -> Iterator[None]:
    """Let the processes of this machine that rename directories in ``folder`` do so one after the other.

    The lock leaves no file, and the system frees it when a process dies. Where folders cannot be locked (Windows, some
    network file systems), or somebody holds the lock for longer than ``PATIENCE``, nobody waits.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    descriptor, until = os.open(folder, os.O_RDONLY), time.monotonic() + PATIENCE
    try:
        while time.monotonic() < until:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.01)
            except OSError:
                break
        yield
    finally:
        os.close(descriptor)


@contextmanager
def only_writer(output: Path, lock: Path) -> Iterator[None]:
    """Hold ``lock``, a file. Raises ValueError if another process holds it. The system frees it when a process dies."""
    from filelock import FileLock, Timeout  # torch depends on it

    held = FileLock(lock, timeout=0)
    try:
        with errors_about(output, lock):
            held.acquire()
    except Timeout:
        raise ValueError(f"{output}: another process works on it; wait for it, or choose another one") from None
    try:
        yield
    finally:
        held.release()


def png_bytes(picture: Image.Image) -> bytes:
    """Encode a picture as PNG."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
