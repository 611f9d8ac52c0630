"""The layout of an expanded data set on disk: an image folder, or tar shards for the package webdataset.

A layout is written in units, which are blocks of new images or shards. A unit can be written at any time, in any
process and more than once, with the same result. Files are written atomically by renaming.
"""

import hashlib
import io
import json
import os
import tarfile
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from semantic_aug._files import MAX_FILE, FileError, below, check_regular, read_bytes, sha256_of
from semantic_aug._io import own_folder, write_by_way_of
from semantic_aug._random import seeded
from semantic_aug._torchvision import IMG_EXTENSIONS
from semantic_aug.data.source import Source
from semantic_aug.expansion.plan import Plan
from semantic_aug.expansion.recipe import BLOCK, Maker, Recipe, png
from semantic_aug.images import is_plain
from semantic_aug.labels import class_key, folder_name
from semantic_aug.model.artifact import Artifact

WORK = ".expand"  # folder below the output during the work, for the lock, finished lines and incomplete files
RUN, MANIFEST = "expand.json", "manifest.jsonl"  # files of the output
RESERVED = (RUN, MANIFEST)
LONGEST = 255  # bytes of a name on most file systems
SHARD = 1024  # approximate number of samples
Line = dict[str, Any]
How = Literal["link", "copy", "symlink", "png"]


class Layout(ABC):
    """The places of originals and new images below ``directory``, and how to write them. Base of both layouts."""

    def __init__(
        self,
        directory: Path,
        originals: Source,
        plan: Plan,
        artifact: Artifact,
        recipe: Recipe,
        device: str = "cpu",
        how: How = "link",
    ) -> None:
        self.directory, self.originals, self.plan = directory, originals, plan
        self.artifact, self.recipe, self.device, self.how = artifact, recipe, device, how
        self.kept = [how != "png" and keeps_file(path) for path in originals.files]
        self.blocks = -(-len(plan) // BLOCK)
        self.maker: Maker | None = None

    def start(self) -> "Layout":
        """Load the networks onto the device. The process that writes must call this before the first unit."""
        self.maker = Maker(self.artifact, self.recipe, self.device)
        return self

    @abstractmethod
    def units(self) -> range:
        """All units of work."""

    @abstractmethod
    def numbers(self, unit: int) -> list[int]:
        """The new images in a unit."""

    @abstractmethod
    def place(self, numbers: Iterable[int]) -> None:
        """Put those originals in place that are not part of a unit."""

    @abstractmethod
    def write(self, unit: int) -> list[Line]:
        """Make and write a unit. Returns its lines of the manifest."""

    @abstractmethod
    def intact(self, unit: int, lines: dict[int, Line]) -> bool:
        """Whether a unit is complete, with the right hash for every new image."""

    @abstractmethod
    def original(self, number: int) -> str:
        """The path of an original below the directory."""

    @abstractmethod
    def new(self, number: int) -> str:
        """The path of a new image below the directory."""

    def make(self, block: int) -> list[tuple[Line, bytes]]:
        """Make a block of new images, as lines of the manifest and PNG files."""
        assert self.maker is not None, "start() comes first"
        numbers = self.block(block)
        sources = self.plan.sources[numbers].tolist()
        copies = self.plan.copies[numbers].tolist()
        classes = [self.originals.classes[self.originals.labels[source]] for source in sources]
        images = [self.read(source) for source in sources]
        made = self.maker(images, classes, copies, [number % BLOCK for number in numbers])
        pairs = []
        for number, image in zip(numbers, made, strict=True):
            content = png(image)
            pairs.append((self.line(number, _digest(content)), content))
        return pairs

    def line(self, number: int, digest: str) -> Line:
        """The line of a new image in the manifest. The plan and the recipe determine all of it but the digest."""
        source = int(self.plan.sources[number])
        return {
            "number": number,
            "file": self.new(number),
            "class": self.originals.classes[self.originals.labels[source]],
            "source": self.original(source),
            "copy": int(self.plan.copies[number]),
            **asdict(self.recipe),
            "sha256": digest,
        }

    def block(self, block: int) -> list[int]:
        """The new images of a block."""
        return list(range(block * BLOCK, min((block + 1) * BLOCK, len(self.plan))))

    def read(self, number: int) -> Tensor:
        """Read an original, uint8 (1 or 3, H, W). Raises RuntimeError if it can no longer be read."""
        try:
            return self.originals.read(number, None, None)
        except Exception as error:
            raise RuntimeError(f"{self.originals.files[number]}: cannot be read any more ({error})") from error

    def write_file(self, name: str, content: bytes) -> None:
        """Write a file below the directory atomically."""
        write_by_way_of(self.temporary(), content, below(self.directory, name))

    def temporary(self) -> Path:
        """A new path for an incomplete file."""
        return self.directory / WORK / f"{uuid.uuid4().hex}.part"


class Folder(Layout):
    """``DIR/<class>/``: originals with their own names, and new images beside them. A unit is a block."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.folders = folder_names(self.originals.classes)
        self.names = _file_names(self.originals, self.kept)
        self.prefix = "augmented-"  # the originals may already have it, if an expanded folder is expanded again
        while any(name.casefold().startswith(self.prefix) for name in self.names):
            self.prefix = f"re-{self.prefix}"

    def units(self) -> range:
        """The blocks."""
        return range(self.blocks)

    def numbers(self, unit: int) -> list[int]:
        """The new images of the block."""
        return self.block(unit)

    def original(self, number: int) -> str:
        """The path with the original's own name."""
        return f"{self.folders[self.originals.labels[number]]}/{self.names[number]}"

    def new(self, number: int) -> str:
        """The path with the number of the new image in its class."""
        label = self.originals.labels[int(self.plan.sources[number])]
        return f"{self.folders[label]}/{self.prefix}{int(self.plan.copies[number]):06d}.png"

    def place(self, numbers: Iterable[int]) -> None:
        """Link or copy the originals. Those whose file is not kept are written as PNG."""
        for folder in self.folders:
            own_folder(below(self.directory, folder))
        for number in numbers:
            name, path = self.original(number), self.originals.files[number]
            if self.kept[number]:
                self._take_over(path.resolve(), below(self.directory, name))
            elif not below(self.directory, name).exists():
                self.write_file(name, png(self.read(number)))

    def _take_over(self, source: Path, target: Path) -> None:
        if target.exists() and target.stat().st_size == source.stat().st_size:
            return
        target.unlink(missing_ok=True)
        if self.how == "symlink":
            target.symlink_to(source)
            return
        if self.how == "link":
            try:
                os.link(source, target)
                return
            except OSError:  # another file system, one without hard links, or a file of another user
                pass
        write_by_way_of(self.temporary(), source.read_bytes(), target)

    def write(self, unit: int) -> list[Line]:
        """Write one file per image."""
        pairs = self.make(unit)
        for line, content in pairs:
            self.write_file(line["file"], content)
        return [line for line, _ in pairs]

    def intact(self, unit: int, lines: dict[int, Line]) -> bool:
        """Read every file and compare its hash."""
        return all(
            number in lines and lines[number]["sha256"] == _digest_of(self.directory / self.new(number))
            for number in self.numbers(unit)
        )


class Shards(Layout):
    """``DIR/shard-000000.tar``, ...: samples of all classes in random order. A unit is a shard.

    A sample is three files with the same stem: the image (``.png``, unless the files of originals are kept), ``.cls``
    (the class index as text), and ``.json`` (class and file name, or the line of the manifest for a new image).
    ``tarfile`` is enough to write them, because the format is only a naming rule. The bytes must be reproducible.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        n, seed = len(self.originals), self.recipe.seed
        self.count = -(-(n + len(self.plan)) // SHARD)
        order = torch.randperm(n, generator=seeded(seed, "originals"), device="cpu")
        self.samples: list[list[int]] = []  # for every shard, the originals by number and new images by n + number
        self.keys: dict[int, str] = {}
        for shard in self.units():
            new = [n + number for number in self.numbers(shard)]
            samples = torch.cat([order[shard :: self.count], torch.tensor(new, dtype=torch.int64, device="cpu")])
            shuffled = samples[torch.randperm(len(samples), generator=seeded(seed, "shard", shard))].tolist()
            self.samples.append(shuffled)
            self.keys |= {sample: f"{_shard(shard)}/{shard:06d}-{i:06d}" for i, sample in enumerate(shuffled)}

    def units(self) -> range:
        """The shards."""
        return range(self.count)

    def numbers(self, unit: int) -> list[int]:
        """The new images of every ``count``-th block."""
        return [number for block in range(unit, self.blocks, self.count) for number in self.block(block)]

    def original(self, number: int) -> str:
        """``shard/name``, with the extension of the file if that is kept."""
        return self.keys[number] + (self.originals.files[number].suffix.lower() if self.kept[number] else ".png")

    def new(self, number: int) -> str:
        """``shard/name.png``."""
        return self.keys[len(self.originals) + number] + ".png"

    def place(self, numbers: Iterable[int]) -> None:
        """Do nothing, because the originals are in the shards."""

    def write(self, unit: int) -> list[Line]:
        """Write one tar file. The new images of a shard are kept in memory until then."""
        n = len(self.originals)
        made = {
            n + line["number"]: (line, content)
            for block in range(unit, self.blocks, self.count)
            for line, content in self.make(block)
        }
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for sample in self.samples[unit]:
                label = self.originals.labels[sample if sample < n else int(self.plan.sources[sample - n])]
                line, content = made[sample] if sample >= n else self._described(sample)
                name = line["file"].split("/")[1]
                stem = name.split(".")[0]
                about = json.dumps(line).encode()
                for member, data in ((name, content), (f"{stem}.cls", str(label).encode()), (f"{stem}.json", about)):
                    info = tarfile.TarInfo(member)  # without time and owner, so that the bytes are reproducible
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
        self.write_file(_shard(unit), file.getvalue())
        return [line for line, _ in made.values()]

    def _described(self, number: int) -> tuple[Line, bytes]:
        path = self.originals.files[number]
        content = read_bytes(path, MAX_FILE) if self.kept[number] else png(self.read(number))
        name = self.originals.classes[self.originals.labels[number]]
        return {"file": self.original(number), "class": name, "original": path.name}, content

    def intact(self, unit: int, lines: dict[int, Line]) -> bool:
        """Read the shard once and compare all hashes."""
        found: dict[str, str] = {}
        try:
            with tarfile.open(check_regular(self.directory / _shard(unit)), "r:") as tar:
                for member in tar:
                    content = tar.extractfile(member) if member.isreg() else None  # of a link it would be another's
                    if content is not None:
                        found[f"{_shard(unit)}/{member.name}"] = sha256_of(content)
        except (OSError, tarfile.TarError, ValueError):
            return False
        return all(
            number in lines and lines[number]["sha256"] == found.get(self.new(number)) for number in self.numbers(unit)
        )


LAYOUTS: dict[str, type[Layout]] = {"folder": Folder, "webdataset": Shards}


def _shard(unit: int) -> str:
    return f"shard-{unit:06d}.tar"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _digest_of(path: Path) -> str | None:
    try:
        with check_regular(path).open("rb") as file:
            return sha256_of(file)
    except (OSError, FileError):
        return None


def keeps_file(path: Path) -> bool:
    """Whether every library reads the file of an original as we do. Such files are kept, and others become PNG.

    Files of rare formats are not, and neither are those with an EXIF orientation, transparency or more than 8 bits.
    """
    return path.suffix.lower() in IMG_EXTENSIONS and is_plain(str(path))


def folder_names(classes: Sequence[str]) -> list[str]:
    """The name of each class's folder. Raises ValueError if two are alike, or if one cannot be a folder's name."""
    names = [folder_name(name) for name in classes]
    for name in names:
        if name.casefold() in ("", *RESERVED) or len(os.fsencode(name)) > LONGEST:
            raise ValueError(
                f"the class {name!r:.80} cannot be a folder: its name is empty, one of {', '.join(RESERVED)}, or "
                f"longer than {LONGEST} bytes; rename it"
            )
    if len({class_key(name) for name in classes}) < len(names):
        raise ValueError(f"classes {list(classes)} cannot be told apart as folders")
    return names


def _file_names(originals: Source, kept: Sequence[bool]) -> list[str]:
    """The file name of every original in the folder of its class. Its number is added if the name is taken."""
    taken: set[tuple[int, str]] = set()
    names = []
    for number, (path, label) in enumerate(zip(originals.files, originals.labels, strict=True)):
        path = path if kept[number] else path.with_suffix(".png")
        name = path.name
        while (label, name.casefold()) in taken:
            name = f"{Path(name).stem}-{number}{path.suffix}"
        taken.add((label, name.casefold()))
        names.append(name)
    return names
