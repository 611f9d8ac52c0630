"""Where a verb may write; each returns the path, or raises before any work is done."""

from pathlib import Path


def writable(path: str) -> Path:
    """A file in a folder that exists."""
    if not Path(path).absolute().parent.is_dir():
        raise FileNotFoundError(f"{Path(path).parent}: no such folder to write {Path(path).name} to")
    return Path(path)


def png(path: str, option: str) -> Path:
    """A file that ends in .png, in a folder that exists."""
    if Path(path).suffix.lower() != ".png":
        raise ValueError(f"{option} must end in .png, got {Path(path).name}")
    return writable(path)


def directory(path: str | Path) -> Path:
    """A directory, or nothing yet."""
    if Path(path).exists() and not Path(path).is_dir():
        raise ValueError(f"{path} is a file; --output takes a directory")
    return Path(path)


def outside(output: Path, data: str) -> Path:
    """An output that does not lie in the folder it is made from."""
    if Path(data).is_dir() and output.resolve().is_relative_to(Path(data).resolve()):
        raise ValueError(f"{output} lies in {data}, whose images would then change; choose another --output")
    return output


def new(path: str | Path) -> Path:
    """Nothing yet."""
    if Path(path).exists():
        raise FileExistsError(f"{path} exists; choose another --output")
    return Path(path)
