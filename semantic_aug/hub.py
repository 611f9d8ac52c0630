"""Where a checkpoint lives: a bundled name or a directory => a local directory."""

from pathlib import Path

PACKAGE = Path(__file__).parent
# In a wheel the checkpoints lie inside the package, in a source tree (an editable install) beside it.
BUNDLED = (PACKAGE / "checkpoints", PACKAGE.parent / "checkpoints")


def bundled() -> dict[str, Path]:
    """The checkpoints that came with the package: name => directory."""
    return {path.parent.name: path.parent for root in BUNDLED for path in sorted(root.glob("*/config.json"))}


def resolve(checkpoint: str | Path) -> Path:
    """The local directory of ``checkpoint``. Raises FileNotFoundError that says what there is instead."""
    directories = bundled()
    if isinstance(checkpoint, str) and checkpoint in directories:
        return directories[checkpoint]
    if Path(checkpoint).is_dir():
        return Path(checkpoint)
    names = ", ".join(repr(name) for name in directories) or "none"
    raise FileNotFoundError(
        f"no checkpoint {str(checkpoint)!r}: neither a bundled one ({names}) nor a directory that exists"
    )
