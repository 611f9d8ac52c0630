"""Checks of the paths that a verb writes to, and paths as they are recorded for others.

Functions that check a path return it or raise before any work is done.
"""

import errno
import os
import re
from pathlib import Path


def writable(path: str) -> Path:
    """Check that a file is in a folder that exists."""
    folder = Path(path).absolute().parent
    if folder.is_file():
        raise ValueError(f"{folder} is a file; expected a folder to write {Path(path).name} to")
    if not folder.is_dir():
        raise FileNotFoundError(f"{Path(path).parent}: no such folder to write {Path(path).name} to")
    return permitted(path)


def png(path: str, option: str) -> Path:
    """Check that a file ends in .png and is in a folder that exists."""
    if Path(path).suffix.lower() != ".png":
        raise ValueError(f"{option} must end in .png, got {Path(path).name}")
    return writable(path)


def directory(path: str | Path) -> Path:
    """Check that a path is a directory or does not exist yet."""
    if Path(path).exists() and not Path(path).is_dir():
        raise ValueError(f"{path} is a file; --output takes a directory")
    return permitted(path)


def outside(output: Path, data: str) -> Path:
    """Check that an output is not inside the folder it is made from."""
    folder = Path(data.removeprefix("folder:"))
    if folder.is_dir() and output.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{output} lies in {folder}, whose images would then change; choose another --output")
    return output


def new(path: str | Path) -> Path:
    """Check that a path does not exist yet. What a killed process left beside one that does is deleted."""
    if Path(path).exists():
        from semantic_aug._io import remove_left

        remove_left(Path(path))
        raise FileExistsError(f"{path} exists; choose another --output")
    return permitted(path)


def permitted(path: str | Path) -> Path:
    """Check that the directory ``path`` may be written in or, if it is none, the nearest directory above it."""
    folder = next(each for each in (Path(path), *Path(path).absolute().parents) if each.is_dir())
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "no permission to write there", str(path))
    return Path(path)


def without_folders(word: str) -> str:
    """A word of the command line without the folders of this machine, as artifacts and pages record it."""
    option, equals, value = word.partition("=")
    if option.startswith("-") and equals:
        return f"{option}={without_folders(value)}"
    if word.startswith("folder:"):
        return f"folder:{without_folders(word.removeprefix('folder:'))}"
    if re.match(r"\w[\w-]+:", word):  # PREFIX:NAME@ROOT
        return word.partition("@")[0]
    folder, name = os.path.split(word)
    if os.path.isfile(folder):  # TABLE/SPLIT
        return f"{os.path.basename(folder)}/{name}"
    return os.path.basename(os.path.abspath(word)) if os.path.isabs(word) or os.path.exists(word) else word
