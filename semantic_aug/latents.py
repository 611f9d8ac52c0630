"""Latents of a data set, encoded once and kept in a memory-mapped file: an epoch then costs the decoder alone."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import PIL.Image
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.utils._pytree import tree_flatten
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision.transforms.v2 import functional as F

from semantic_aug._io import save_whole
from semantic_aug._samples import image_positions
from semantic_aug.functional import model_input
from semantic_aug.images import check_channels, check_unit, model_to_unit, pil_to_mode, tensor_to_unit, unit_to_tensor
from semantic_aug.model.artifact import Artifact

FORMAT = "semantic-aug-latents/1"
PROBES = 16  # images that are encoded again when a cache is loaded
# Of the spread of the latents. Another way of resizing moves a latent by 0.005 of it, rounding to 6 bits by 0.03, a
# shift by one pixel by 0.5 and a flip by 1.2 in the median (fer2013-48 on FER2013).
TOLERANCE = 0.1


class LatentsError(ValueError):
    """A file of latents cannot be used; the message says why: broken, of another artifact, or of other images."""


class LatentCache:
    """mu(x) for every image of a data set and, if wanted, G(mu(x)), which "detail" mode subtracts::

        cache = LatentCache.build("latents.safetensors", augment.artifact, data)  # once, or semantic-aug encode
        cache = LatentCache.load("latents.safetensors", augment.artifact, data)
        loader = DataLoader(cache.dataset(data), batch_size=256, shuffle=True)  # yields (image, label, index)
        for images, labels in SemanticLoader(loader, augment, latents=cache): ...

    or by hand ``augment(images, labels, latents=cache[index])``. The images must reach the augmentation as they were
    encoded: a random flip, crop or colour change between loading and augmenting gives images that the latents do
    not belong to. Put such transforms behind it.

    Attributes:
        mu: (N, d) float32, memory-mapped.
        reconstruction: (N, C, S, S) float16 in [0, 1], memory-mapped, or None.
        fingerprint: of the artifact that encoded them.
    """

    def __init__(self, mu: Tensor, reconstruction: Tensor | None, fingerprint: str) -> None:
        self.mu, self.reconstruction, self.fingerprint = mu, reconstruction, fingerprint

    def __len__(self) -> int:
        return len(self.mu)

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> dict[str, Tensor]:
        """``mu`` and, where it is kept, ``reconstruction`` of the images at ``index``: what ``latents=`` takes."""
        found = {"mu": self.mu[index]}
        return found if self.reconstruction is None else found | {"reconstruction": self.reconstruction[index]}

    def dataset(self, data: Any) -> "IndexedDataset":
        """``data`` with the index of each image behind its sample, so that a batch finds its latents."""
        if len(data) != len(self):
            raise ValueError(f"the cache holds the latents of {len(self)} images, the data set has {len(data)}")
        return IndexedDataset(data)

    @classmethod
    def build(
        cls,
        path: str | Path,
        artifact: Artifact,
        data: Any,
        *,
        files: Sequence[str | Path] | None = None,
        reconstructions: bool = False,
        labels: Sequence[int] | Tensor | None = None,
        overwrite: bool = False,
        batch: int = 256,
        workers: int = 0,
    ) -> "LatentCache":
        """Encode a data set in float32 on the artifact's device and write its latents, atomically.

        Args:
            path: the file; 4 d bytes an image (15 MB for 28 709 images and d = 128).
            data: a map-style data set whose samples hold one image each, uint8, PIL or float in [0, 1], or a tensor
                of images (N, C, H, W).
            files: the files behind ``data``, in its order, by whose names, sizes and times it is known again (None:
                its ``samples``, as torchvision's folders have them). Without files it is known by all its pixels.
            reconstructions: keep G(mu) too; 2 C S^2 bytes an image (132 MB for 28 709 grey images of 48 pixels), all
                in memory while they are written. "detail" mode then decodes once instead of twice.
            labels: class indices of the artifact (N,), -1 where a class is not known; needed where a conditional
                generator makes the reconstructions, which then hold for augmentations with these labels.
            batch, workers: images encoded at a time, and processes that read them.

        Raises FileExistsError, unless ``overwrite``, and ValueError for a data set whose images differ from one
        reading to the next or are not in [0, 1], and where labels are needed and missing.
        """
        target = Path(path)
        if target.exists() and not overwrite:
            raise FileExistsError(f"{target} exists; pass overwrite=True to replace it, or choose another file")
        images, network = _Images(data, artifact), artifact.network
        n, size = len(images), network.image_size
        if not n:
            raise ValueError("there are no images to encode")
        table = _label_column(labels, n, artifact) if reconstructions else None
        for i in _probes(n):
            if not torch.equal(images[i], images[i]):
                raise ValueError(
                    f"image {i} differs from one reading to the next; latents belong to images without random "
                    f"transforms: put flips, crops and the like behind the augmentation"
                )
        metadata = {"format": FORMAT, "artifact": artifact.fingerprint, **_stamp(images, files)}
        tensors = {"mu": torch.empty(n, network.latent_dim)}
        if reconstructions:
            tensors["reconstruction"] = torch.empty(n, network.channels, size, size, dtype=torch.float16)
        start = 0
        for x in DataLoader(images, batch, num_workers=workers, generator=torch.Generator()):
            part = slice(start, start := start + len(x))
            mu = artifact.encode(x.to(artifact.device))
            tensors["mu"][part] = mu.cpu()
            if reconstructions:
                known = None if table is None else table[part].to(mu.device)
                tensors["reconstruction"][part] = model_to_unit(artifact.decode(mu, known)).cpu().half()
        save_whole(tensors, target, metadata)
        return cls._open(target, artifact)[0]

    @classmethod
    def load(
        cls, path: str | Path, artifact: Artifact, data: Any, *, files: Sequence[str | Path] | None = None
    ) -> "LatentCache":
        """Map a file written by ``build``, for an artifact and a data set that must be the same as then.

        A few images are encoded again, so that a data set whose transforms have changed is found out too.
        Raises FileNotFoundError, LatentsError for a file that is broken or stale, and ValueError as ``build`` does.
        """
        cache, metadata = cls._open(Path(path), artifact)
        images = _Images(data, artifact)
        if len(images) != len(cache):
            raise LatentsError(f"{path}: holds the latents of {len(cache)} images, the data set has {len(images)}")
        found = _stamp(images, files)
        for key, difference in DIFFERENCES.items():
            if metadata.get(key) != found.get(key):
                raise LatentsError(f"{path}: is stale, {difference}; encode the data set again")
        probes = _probes(len(images))
        mu = artifact.encode(torch.stack([images[i] for i in probes]).to(artifact.device)).cpu()
        spread = float((cache.mu[probes] - cache.mu[probes].mean(0)).square().mean().sqrt()) or 1.0
        moved = (mu - cache.mu[probes]).square().mean(1).sqrt() / spread
        if not moved.max() <= TOLERANCE:
            raise LatentsError(
                f"{path}: is stale, image {probes[int(moved.argmax())]} encodes to something else now (by "
                f"{float(moved.max()):.2g} of the latents' spread, at most {TOLERANCE} is rounding); its "
                f"transforms have changed since, or are random"
            )
        return cache

    @classmethod
    def _open(cls, path: Path, artifact: Artifact) -> tuple["LatentCache", dict[str, str]]:
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file; LatentCache.build or semantic-aug encode writes it")
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dictionary)
        except (SafetensorError, OSError) as error:
            raise LatentsError(f"{path}: broken or cut off ({error}); encode the data set again") from error
        if metadata.get("format") != FORMAT or "mu" not in tensors:
            raise LatentsError(f"{path}: format is {metadata.get('format')!r}, expected {FORMAT!r}")
        if metadata.get("artifact") != artifact.fingerprint:
            raise LatentsError(
                f"{path}: is stale, the latents are of another artifact ({metadata.get('artifact')!s:.12}..., this "
                f"one is {artifact.fingerprint:.12}...); encode the data set again"
            )
        return cls(tensors["mu"], tensors.get("reconstruction"), metadata["artifact"]), metadata


DIFFERENCES = {
    "known_by": "it was encoded with files= and is loaded without, or the other way round",
    "names": "other files, or in another order",
    "times": "the sizes or times of its files have changed",
    "pixels": "other images, or in another order",
}


class IndexedDataset(Subset):
    """A data set whose samples end in their index: (image, label) => (image, label, index), a mapping gets "index".

    A ``Subset`` of everything, for whoever looks through those. Every other attribute (``classes``, ``targets``) is
    that of the data set.
    """

    def __init__(self, data: Any) -> None:
        super().__init__(data, range(len(data)))

    def __getattr__(self, name: str) -> Any:
        if name == "dataset" or name.startswith("__"):  # not there yet while being unpickled; its own, not ours
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __getitem__(self, index: int) -> Any:
        return _with_index(self.dataset[index], index)

    def __getitems__(self, indices: list[int]) -> list[Any]:
        read = getattr(self.dataset, "__getitems__", None)
        samples = read(indices) if read else [self.dataset[index] for index in indices]
        return [_with_index(sample, index) for sample, index in zip(samples, indices, strict=True)]


def _with_index(sample: Any, index: int) -> Any:
    if isinstance(sample, Mapping):
        if "index" in sample:
            raise ValueError(
                'the samples have an "index" of their own, where that of their latents would go; rename it'
            )
        return {**sample, "index": index}
    return (*sample, index) if isinstance(sample, tuple | list) else (sample, index)


def split_index(batch: Any) -> tuple[Any, Tensor]:
    """A batch of an ``IndexedDataset`` => the batch as the data set itself would have given it, and its indices."""
    if isinstance(batch, Mapping):
        index = batch.get("index")
        rest: Any = {name: value for name, value in batch.items() if name != "index"}
    else:
        *rest, index = batch
        if len(rest) < 2:  # an image and its label alone: it is the label that stands last
            index = None
        rest = tuple(rest) if isinstance(batch, tuple) else rest
    if not isinstance(index, Tensor) or index.dtype != torch.int64 or index.ndim != 1:
        raise ValueError(
            'with latents= the last element of a batch, or its "index", must be the images\' indices, int64 (B,); '
            "wrap the data set: DataLoader(cache.dataset(data), ...)"
        )
    return rest, index


class _Images(Dataset):
    """The images of a data set as its artifact's networks take them, float32 (C, S, S) in [-1, 1]."""

    def __init__(self, data: Any, artifact: Artifact) -> None:
        self.data, self.artifact = data, artifact

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Tensor:
        return model_input(self.unit(index)[None], self.artifact.network)[0]

    def unit(self, index: int) -> Tensor:
        """The image as the data set gives it, float32 (1 or 3, H, W) in [0, 1]."""
        flat, _ = tree_flatten(self.data[index])
        positions = image_positions(flat)
        if len(positions) != 1:
            raise ValueError(f"expected samples with one image, sample {index} has {len(positions)}")
        image = flat[positions[0]]
        if isinstance(image, PIL.Image.Image):
            image = F.pil_to_tensor(pil_to_mode(image, image.mode if image.mode in ("L", "RGB") else "RGB"))
        image = image.as_subclass(Tensor)
        check_channels(image)
        check_unit(image, image.dtype)
        return tensor_to_unit(image)


def _label_column(labels: Sequence[int] | Tensor | None, n: int, artifact: Artifact) -> Tensor | None:
    """The labels that G is given, int64 (n,); None for an unconditional one."""
    if not artifact.conditional:
        return None
    if labels is None:
        raise ValueError(
            "the checkpoint's generator is conditional on the class, so reconstructions need labels=, the checkpoint's "
            "class index of each image; or leave reconstructions out"
        )
    table = torch.as_tensor(labels, dtype=torch.int64, device="cpu")
    if table.shape != (n,):
        raise ValueError(f"expected one label for each of {n} images, got labels of shape {tuple(table.shape)}")
    return table


def _probes(n: int) -> list[int]:
    return sorted({i * n // PROBES for i in range(PROBES)})


def _stamp(images: _Images, files: Sequence[str | Path] | None) -> dict[str, str]:
    """What tells whether a data set is still the same: its files, or, where it has none, its pixels."""
    found = _files(images.data) if files is None else [os.path.abspath(file) for file in files]
    if found is None:
        digest = _digest()
        for i in range(len(images)):
            pixels = unit_to_tensor(images.unit(i), torch.uint8)
            digest.update(repr(tuple(pixels.shape)).encode() + pixels.contiguous().numpy().tobytes())
        return {"known_by": "pixels", "pixels": digest.hexdigest()}
    if len(found) != len(images):
        raise ValueError(f"{len(found)} files for {len(images)} images; one file an image is expected")
    root, names, times = os.path.commonpath(found), _digest(), _digest()
    for file in found:
        stat = os.stat(file)
        names.update(f"{os.path.relpath(file, root)}\0".encode())
        times.update(f"{stat.st_size} {stat.st_mtime_ns}\0".encode())
    return {"known_by": "files", "names": names.hexdigest(), "times": times.hexdigest()}


def _digest() -> Any:
    return hashlib.blake2b(digest_size=16)


def _files(data: Any) -> list[str] | None:
    """The files behind a data set in its order, as torchvision's folders list them, also through a Subset."""
    if isinstance(data, Subset):
        files = _files(data.dataset)
        return None if files is None else [files[i] for i in data.indices]
    samples = getattr(data, "samples", None)
    if not isinstance(samples, list) or not all(isinstance(s, tuple) and isinstance(s[0], str | Path) for s in samples):
        return None
    return [os.path.abspath(sample[0]) for sample in samples] or None
