"""A new image of an expanded data set, with everything that determines it, so that it can be made again bit for bit.

The output bits of a network depend on the batch size and on the number of threads that share an operation, but not on
the other images in the batch. With fer2013-48 on a CPU, 3 of 64 images differ by a grey level between batches of 1 and
of 32. So every image is made in a batch of ``BLOCK``, in a fixed row, by one thread.
"""

import math
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from semantic_aug._files import MAX_FILE, FileError, below, check_regular, read_bytes
from semantic_aug._io import png_bytes
from semantic_aug._random import seeded
from semantic_aug._text import shorten
from semantic_aug.functional import blend, decode_pair, model_input
from semantic_aug.images import bytes_to_pil, content_to_bytes, tensor_to_unit, unit_to_tensor
from semantic_aug.labels import label_table
from semantic_aug.model.artifact import Artifact
from semantic_aug.model.recommended import MODES, Mode
from semantic_aug.model.runtime import LatentModel
from semantic_aug.model.statistics import Shrinkage
from semantic_aug.perturb import NEEDS_OTHERS, PERTURBATIONS

BLOCK = 32  # with fer2013-48 on one core, 224 images/s, compared with 93 one at a time and 199 for batches of 64


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings that all new images of a run share, with the same meaning as in ``SemanticAugment``.

    ``artifact`` is the fingerprint of the checkpoint. Raises ValueError for settings out of range, and TypeError for
    settings of another type.
    """

    artifact: str
    strength: float
    mode: Mode
    perturbation: str = "covariance"
    shrinkage: Shrinkage = "oas"
    seed: int = 0

    @classmethod
    def of(
        cls, artifact: Artifact, *, strength: float | None = None, mode: Mode | None = None, **settings: Any
    ) -> "Recipe":
        """A recipe for ``artifact``. Settings that are not given come from its recommendation."""
        recommended = artifact.recommended
        return cls(
            artifact=artifact.fingerprint,
            strength=recommended.strength if strength is None else strength,
            mode=mode or recommended.mode,
            shrinkage=recommended.shrinkage,
            **settings,
        )

    def __post_init__(self) -> None:
        if not isinstance(self.artifact, str):
            raise TypeError(f"artifact must be a fingerprint, got {self.artifact!r:.80}")
        if not (math.isfinite(self.strength) and self.strength >= 0):
            raise ValueError(f"strength must be finite and >= 0, got {self.strength}")
        if self.mode not in MODES:
            raise ValueError(f"mode must be one of {MODES}, got {self.mode!r}")
        known = [name for name in PERTURBATIONS if name not in NEEDS_OTHERS]
        if self.perturbation not in known:
            raise ValueError(f"perturbation must be one of {', '.join(known)}, got {self.perturbation!r}")
        if not isinstance(self.seed, int):
            raise TypeError(f"seed must be an integer, got {self.seed!r:.80}")


class Maker:
    """Makes new images from their sources on one device. Call it inside ``with one_thread():``.

    Raises ValueError if ``artifact`` is not the recipe's.
    """

    def __init__(self, artifact: Artifact, recipe: Recipe, device: str | torch.device = "cpu") -> None:
        if artifact.fingerprint != recipe.artifact:
            raise ValueError(
                f"the images were made with another checkpoint ({recipe.artifact:.12}..., this one is "
                f"{artifact.fingerprint:.12}...)"
            )
        self.classes, self.recipe = artifact.classes, recipe
        with one_thread():  # the bits of the factors depend on it
            self.model = LatentModel.of(artifact, device, shrinkage=recipe.shrinkage)

    @torch.no_grad()
    def __call__(
        self, images: Sequence[Tensor], classes: Sequence[str], copies: Sequence[int], rows: Sequence[int]
    ) -> list[Tensor]:
        """New images, each of the size and the channels of its source.

        Args:
            images: at most ``BLOCK`` sources, each uint8 (1 or 3, H, W), of any sizes.
            classes: class name of each image.
            copies: number of each new image within its class. Together with the seed and the class, it determines the
                noise.
            rows: row of each image in the batch. The other rows are padding.
        """
        model, recipe, d = self.model, self.recipe, self.model.network.latent_dim
        units = [tensor_to_unit(image)[None] for image in images]
        noise = torch.stack(
            [
                torch.randn(d, generator=seeded(recipe.seed, "noise", *key), dtype=torch.float32, device="cpu")
                for key in zip(classes, copies, strict=True)
            ]
        )
        labels = label_table(classes, self.classes)
        batch = torch.zeros(BLOCK, dtype=torch.int64, device="cpu")
        batch[list(rows)] = torch.arange(len(rows), device="cpu")
        x = torch.cat([model_input(unit, model.network) for unit in units])[batch]
        mu = model.encode(x.to(model.device))
        labels, noise = labels[batch].to(mu.device), noise[batch].to(mu.device)
        z = PERTURBATIONS[recipe.perturbation](mu, labels, noise, model, recipe.strength)
        before, after = (None if out is None else out.cpu() for out in decode_pair(mu, z, labels, model, recipe.mode))
        assert after is not None
        return [
            unit_to_tensor(blend(unit, None if before is None else before[row, None], after[row, None]), torch.uint8)[0]
            for unit, row in zip(units, rows, strict=True)
        ]


@contextmanager
def one_thread() -> Iterator[None]:
    """Run each operation on one thread, with deterministic convolutions on a GPU, to get the same bits in every run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_num_threads(threads)


def remake(line: Mapping[str, Any], directory: str | Path, artifact: Artifact, device: str = "cpu") -> bytes:
    """Make the PNG file of one line of ``DIR/manifest.jsonl`` again from its source in ``directory``.

    The result is bit-for-bit identical to the existing file with the same versions of torch and Pillow on the same kind
    of processor (``DIR/expand.json`` says which). With others, a few pixels may differ by a grey level.
    Raises ValueError if the file was made with another checkpoint than ``artifact``, or if the line or the source is
    damaged, and FileNotFoundError if the source is gone.
    """
    try:
        recipe = Recipe(**{name: line[name] for name in Recipe.__dataclass_fields__})
        source, name, copy, row = (
            str(line["source"]),
            str(line["class"]),
            int(line["copy"]),
            int(line["number"]) % BLOCK,
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"{directory}: a line of the manifest lacks a value, or has a wrong one: {error!r:.80}"
        ) from error
    content = read_file(directory, source)
    try:
        maker = Maker(artifact, recipe, device)
    except ValueError as error:  # another checkpoint, or a shrinkage that is none
        raise ValueError(f"{directory}: {shorten(error)}") from error
    try:
        with one_thread():
            (made,) = maker([content_to_bytes(content, None)], [name], [copy], [row])
    except (OSError, ValueError) as error:  # a damaged source, or another class
        raise ValueError(f"{directory}: {source!r:.80} gives no new image of {name!r:.40}: {shorten(error)}") from error
    return png(made)


def read_file(directory: str | Path, name: str) -> bytes:
    """Read a file of an expanded data set, named ``class/file`` or ``shard.tar/file``.

    Raises ValueError for a name that leads out of the directory, or a file of more than ``MAX_FILE`` bytes.
    """
    path = below(Path(directory), name)
    if path.is_file():
        return read_bytes(path, MAX_FILE)
    try:
        with tarfile.open(check_regular(path.parent), "r:") as tar:
            member = tar.getmember(path.name)
            found = tar.extractfile(member) if member.isreg() and member.size <= MAX_FILE else None
            if found is None:
                raise FileError(f"{path}: expected a file of at most {MAX_FILE} bytes")
            return found.read()
    except (KeyError, tarfile.TarError) as error:
        raise FileError(f"{path}: cannot be read from its shard ({error})") from error


def png(image: Tensor) -> bytes:
    """Encode an image uint8 (1 or 3, H, W) as PNG."""
    return png_bytes(bytes_to_pil(image))
