"""Reading files that may be damaged or hostile: only regular files, with limits, and with errors that name the file.

Every reader of JSON and of tensors in the package uses these functions. ``_io`` writes what they read.
"""

import hashlib
import json
import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from semantic_aug._text import shorten

DIGEST_BYTES = 16
MAX_TEXT = 16 << 20  # bytes of a text that is read whole
MAX_FILE = 1 << 29  # bytes of an image that is read whole
DIGEST = "digest"  # the tensor of a file that is a hash of everything else
KINDS = {stat.S_IFDIR: "a directory", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}

Spec = Mapping[str, tuple[tuple[int | None, ...], tuple[str, ...]]]  # name => shape (None: any size), dtypes allowed


class FileError(ValueError):
    """A file cannot be used. The message names the file, what was found and what was expected."""


@contextmanager
def raising(kind: type[ValueError]) -> Iterator[None]:
    """Turn FileError into the error that a reader documents. It is also a decorator."""
    try:
        yield
    except FileError as error:
        raise kind(str(error)) from error


def check_regular(path: str | Path, limit: int | None = None) -> Path:
    """Return ``path`` if it is a regular file of at most ``limit`` bytes, or a link to one.

    Reading a named pipe or a device may block for ever or never end. Raises FileError for anything else than a regular
    file, and OSError if there is nothing or a link that leads nowhere.
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        kind = KINDS.get(stat.S_IFMT(found.st_mode), "a device")
        raise FileError(f"{path}: is {kind}, expected a regular file")
    if limit is not None and found.st_size > limit:
        raise FileError(f"{path}: has {found.st_size} bytes, expected at most {limit}")
    return Path(path)


def read_bytes(path: str | Path, limit: int = MAX_TEXT) -> bytes:
    """The content of a regular file of at most ``limit`` bytes. Raises as ``check_regular``."""
    with check_regular(path, limit).open("rb") as file:
        return file.read(limit)


def sha256_of(file: IO[bytes]) -> str:
    """The SHA-256 of what is left of an open file."""
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def read_json(path: str | Path, limit: int = MAX_TEXT) -> dict[str, Any]:
    """The JSON object in a file. Raises as ``check_regular``, and FileError for any other content."""
    return parse_json(read_bytes(path, limit), str(path))


def parse_json(text: str | bytes, where: str) -> dict[str, Any]:
    """The JSON object in ``text``. Raises FileError, which begins with ``where``, for anything else."""
    try:
        value = json.loads(text if isinstance(text, str) else text.decode("utf-8"), parse_int=_parse_int)
    except (ValueError, RecursionError) as error:
        raise FileError(f"{where}: not JSON in UTF-8: {shorten(error)}") from error
    if not isinstance(value, dict):
        raise FileError(f"{where}: holds {value!r:.80}, expected a JSON object")
    return value


def _parse_int(digits: str) -> int:
    if len(digits) > 19:  # longer than any int64
        raise ValueError(f"the number {digits:.20}... has too many digits")
    return int(digits)


def below(root: Path, name: str) -> Path:
    """The path of a file that a table or a manifest names by its path below ``root``.

    Raises FileError for a name that leads out of it.
    """
    path = Path(name)
    if not path.parts or path.is_absolute() or path.drive or ".." in path.parts or "\0" in name:
        raise FileError(f"{root}: {name!r:.80} is no path of a file below it")
    return root / path


# --- Tensors ----------------------------------------------------------------------------------------------------


@contextmanager
def open_tensors(path: str | Path) -> Iterator[Any]:
    """Map a safetensors file and read its header. Raises FileError for anything that goes wrong, also inside."""
    try:
        with safe_open(check_regular(path), "pt") as file:
            yield file
    except FileError:
        raise
    except (SafetensorError, OSError, RuntimeError) as error:  # RuntimeError: torch cannot map a file that shrank
        raise FileError(f"{path}: no safetensors file, or broken or cut off ({shorten(error)})") from error


def check_header(path: str | Path, file: Any, spec: Spec, optional: Collection[str] = ()) -> None:
    """Check the names, shapes and dtypes of tensors before memory is allocated for them. Raises FileError."""
    found = set(file.keys())
    for problem, names in (("lacks", set(spec) - set(optional) - found), ("has the unexpected", found - set(spec))):
        if names:
            raise FileError(f"{path}: {problem} tensor {min(names)!r:.80} ({len(names)} such in all)")
    for key in (key for key in spec if key in found):
        (shape, dtypes), tensor = spec[key], file.get_slice(key)
        got = tensor.get_shape()
        if len(got) != len(shape) or any(wanted not in (None, size) for size, wanted in zip(got, shape, strict=True)):
            expected = [size if size is not None else "any" for size in shape]
            raise FileError(f"{path}: tensor {key!r} has shape {got}, expected {expected}")
        if tensor.get_dtype() not in dtypes:
            raise FileError(f"{path}: tensor {key!r} is {tensor.get_dtype()}, expected {' or '.join(dtypes)}")


def check_finite(path: str | Path, tensors: Mapping[str, Tensor]) -> None:
    """Raise FileError for NaN, infinity, or a batch norm's variance below 0, whose root would be NaN."""
    for name, value in tensors.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise FileError(f"{path}: tensor {name!r} holds NaN or infinity, expected finite values")
        if name.endswith("running_var") and value.lt(0).any():
            raise FileError(f"{path}: tensor {name!r} holds {float(value.min()):.3g}, expected variances of at least 0")


def read_tensors(
    path: str | Path,
    spec: Callable[[dict[str, str]], Spec | None],
    optional: Collection[str] = (),
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors, memory-mapped, and metadata of a file that ``_io.save_with_digest`` wrote.

    Args:
        path: the file.
        spec: metadata => the tensors that the file must have (None: any). It may raise FileError.
        optional: names in the spec that may be missing.

    Raises FileError if a bit of the file has changed, or its numbers are not finite.
    """
    with open_tensors(path) as file:
        metadata = file.metadata() or {}
        expected = spec(metadata)
        if expected is not None:
            check_header(path, file, {**expected, DIGEST: ((DIGEST_BYTES,), ("U8",))}, optional)
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dictionary)
    digest = tensors.pop(DIGEST, None)
    if digest is None or not torch.equal(digest, digest_of(tensors, metadata)):
        raise FileError(f"{path}: damaged, its content does not fit its digest")
    check_finite(path, tensors)
    return tensors, metadata


def digest_of(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Tensor:
    """A hash, uint8 (``DIGEST_BYTES``,), of names, shapes, dtypes and values, on the CPU, and of the metadata."""
    described = {name: (str(value.dtype), list(value.shape)) for name, value in tensors.items()}
    digest = hashlib.blake2b(json.dumps([described, dict(metadata)], sort_keys=True).encode(), digest_size=DIGEST_BYTES)
    for _, value in sorted(tensors.items()):
        digest.update(value.contiguous().flatten().view(torch.uint8).numpy().data)
    return torch.tensor(list(digest.digest()), dtype=torch.uint8, device="cpu")
