"""Which source of images a text names."""

import re
from pathlib import Path

from semantic_aug.data.expressions import open_affectnet, open_rafdb
from semantic_aug.data.folder import open_folder
from semantic_aug.data.huggingface import is_saved, open_saved
from semantic_aug.data.source import DataError, Source
from semantic_aug.data.torchvision import open_torchvision

PREFIXED = re.compile(r"(\w[\w-]+):([^/@]*)(?:/([^@]*))?(?:@(.+))?")  # PREFIX:NAME[/SPLIT][@ROOT]
OPENERS = {"torchvision": open_torchvision, "rafdb": open_rafdb, "affectnet": open_affectnet}
KNOWN = (
    "an image folder, a folder written by datasets' save_to_disk, torchvision:NAME[/SPLIT][@ROOT], "
    "rafdb:basic[/SPLIT][@ROOT] or affectnet:7|8[/SPLIT][@ROOT]"
)


def find_source(spec: str | Path) -> Source:
    """What ``spec`` names, see ``load_data``; a folder that exists comes before a prefix. Raises DataError."""
    folder = Path(spec)
    matched = PREFIXED.fullmatch(str(spec))
    if matched and not folder.is_dir():
        prefix, name, split, root = matched.groups()
        if prefix not in OPENERS:
            raise DataError(f"{spec}: {prefix!r} is no known kind of data; expected {KNOWN}")
        return OPENERS[prefix](name, split or None, Path(root or "data").expanduser())
    return open_saved(folder) if is_saved(folder) else open_folder(folder)
