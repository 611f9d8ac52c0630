"""Latents of a data set, encoded once and kept in a memory-mapped file, so that an epoch costs only the decoder."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import PIL.Image
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten
from torch.utils.data import DataLoader, Dataset, Subset

from semantic_aug._files import FileError, Spec, raising, read_tensors
from semantic_aug._io import save_with_digest
from semantic_aug._samples import check_no_unseen_image, image_positions
from semantic_aug.functional import model_input
from semantic_aug.images import (
    check_channels,
    check_unit,
    is_plain,
    mode_to_bytes,
    model_to_unit,
    pil_to_mode,
    tensor_to_unit,
    unit_to_tensor,
)
from semantic_aug.model.artifact import Artifact
from semantic_aug.model.statistics import MAX_LATENT

FORMAT = "semantic-aug-latents/1"
PROBES = 16  # images that are encoded again when a cache is loaded
UNUSUAL = 256  # at most, of the images that others read differently
# Fraction of the spread of the latents. In the median, a different way of resizing moves a latent by 0.005 of the
# spread, rounding to 6 bits by 0.03, a shift by one pixel by 0.5, and a flip by 1.2 (fer2013-48 on FER2013).
TOLERANCE = 0.1


class LatentsError(ValueError):
    """A file of latents cannot be used: it is broken, or belongs to another artifact or to other images."""


class LatentCache:
    """The latent mu(x) of every image of a data set and, optionally, G(mu(x)), which "detail" mode subtracts.

    Pass a cache to ``SemanticLoader``, or call ``augment(images, labels, latents=cache[index])``. The images must reach
    the augmentation exactly as they were encoded. After a random flip, crop or colour change, the latents would no
    longer belong to the images, so put such transforms after the augmentation.

    Attributes:
        mu: (N, d) float32, memory-mapped.
        reconstruction: (N, C, S, S) float16 in [0, 1], memory-mapped, or None.
        fingerprint: fingerprint of the artifact that encoded the images.

    Example::

        augment = SemanticAugmentBatch(p=0.5)
        data = [(torch.rand(1, 48, 48), label) for label in range(7)]
        cache = LatentCache.build("latents.safetensors", augment.artifact, data)  # once, or semantic-aug encode
        cache = LatentCache.load("latents.safetensors", augment.artifact, data)
        loader = DataLoader(cache.dataset(data), batch_size=4)  # yields (image, label, index)
        for images, labels in SemanticLoader(loader, augment, latents=cache):
            pass
    """

    def __init__(self, mu: Tensor, reconstruction: Tensor | None, fingerprint: str) -> None:
        self.mu, self.reconstruction, self.fingerprint = mu, reconstruction, fingerprint

    def __len__(self) -> int:
        return len(self.mu)

    def __repr__(self) -> str:
        images, d = self.mu.shape
        return f"LatentCache({images} images, d={d}, {'no ' * (self.reconstruction is None)}reconstructions)"

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> dict[str, Tensor]:
        """``mu`` and, if it is kept, ``reconstruction`` of the images at ``index``, to pass as ``latents=``."""
        found = {"mu": self.mu[index]}
        return found if self.reconstruction is None else found | {"reconstruction": self.reconstruction[index]}

    def dataset(self, data: Any) -> "IndexedDataset":
        """``data`` with the index of each image appended to its sample, so that a batch can look up its latents."""
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
        """Encode a data set in float32 on the artifact's device and write its latents atomically.

        Args:
            path: the file to write. It takes 4 d bytes per image (15 MB for 28 709 images and d = 128).
            data: a map-style data set whose samples hold one image each (uint8, PIL or float in [0, 1]), or a tensor
                of images (N, C, H, W).
            files: the files behind ``data``, in its order. Their names, sizes and times identify the data set when
                the cache is loaded (None: its ``samples``, as torchvision's folders have them). Without files, all
                pixels identify it.
            reconstructions: keep G(mu) too, which takes 2 C S^2 bytes per image (132 MB for 28 709 grey images of 48
                pixels). All of it is in memory while it is written. "detail" mode then decodes once instead of twice.
            labels: the artifact's class index of each image (N,), -1 if the class is not known. They are required for
                the reconstructions of a conditional generator, which are then valid only for these labels.
            overwrite: replace an existing file.
            batch, workers: number of images encoded at a time, and number of processes that read them.

        Raises FileExistsError if the file exists, unless ``overwrite`` is set. Raises ValueError if an image differs
        from one reading to the next or is not in [0, 1], or if required labels are missing.
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
        metadata["unusual"] = ",".join(map(str, _unusual(data, files)))
        tensors = {"mu": torch.empty(n, network.latent_dim, dtype=torch.float32, device="cpu")}
        if reconstructions:
            tensors["reconstruction"] = torch.empty(n, network.channels, size, size, dtype=torch.float16, device="cpu")
        start = 0
        with torch.device("cpu"):  # a DataLoader fails with another default device
            for x in DataLoader(images, batch, num_workers=workers, generator=torch.Generator()):
                part = slice(start, start := start + len(x))
                mu = artifact.encode(x.to(artifact.device))
                tensors["mu"][part] = mu.cpu()
                if reconstructions:
                    known = None if table is None else table[part].to(mu.device)
                    tensors["reconstruction"][part] = model_to_unit(artifact.decode(mu, known)).cpu().half()
        if metadata["known_by"] == "files" and _stamp(images, files).items() - metadata.items():
            raise ValueError("files of the data set have changed while it was encoded; encode it again")
        save_with_digest(tensors, target, metadata, overwrite=overwrite)
        return cls._open(target, artifact)[0]

    @classmethod
    def load(
        cls, path: str | Path, artifact: Artifact, data: Any, *, files: Sequence[str | Path] | None = None
    ) -> "LatentCache":
        """Memory-map a file written by ``build``. The artifact and the data set must be the same as then.

        A few images are encoded again to detect changed transforms, and with them up to 256 of those that others, such
        as ImageFolder, read differently (an EXIF orientation, transparency, or more than 8 bits). Raises
        FileNotFoundError, LatentsError for a file that is broken or stale, and ValueError as ``build`` does.
        """
        cache, metadata = cls._open(Path(path), artifact)
        images = _Images(data, artifact)
        if len(images) != len(cache):
            raise LatentsError(f"{path}: holds the latents of {len(cache)} images, the data set has {len(images)}")
        found = _stamp(images, files)
        for key, difference in DIFFERENCES.items():
            if metadata.get(key) != found.get(key):
                raise LatentsError(f"{path}: is stale, {difference}; encode the data set again")
        unusual = [int(number) for number in metadata.get("unusual", "").split(",") if number.isdecimal()]
        probes = sorted({*_probes(len(images)), *(number for number in unusual if number < len(images))})
        mu = artifact.encode(torch.stack([images[i] for i in probes]).to(artifact.device)).cpu()
        spread = float((cache.mu[probes] - cache.mu[probes].mean(0)).square().mean().sqrt()) or 1.0
        moved = (mu - cache.mu[probes]).square().mean(1).sqrt() / spread
        if not moved.max() <= TOLERANCE:
            raise LatentsError(
                f"{path}: is stale, image {probes[int(moved.argmax())]} encodes to something else now (by "
                f"{float(moved.max()):.2g} of the latents' spread, at most {TOLERANCE} is rounding); its "
                f"transforms have changed since or are random, or it is read without its orientation or transparency"
            )
        return cache

    @classmethod
    @raising(LatentsError)
    def _open(cls, path: Path, artifact: Artifact) -> tuple["LatentCache", dict[str, str]]:
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file; LatentCache.build or semantic-aug encode writes it")
        network = artifact.network
        image = (network.channels, network.image_size, network.image_size)

        def spec(metadata: dict[str, str]) -> Spec:
            if metadata.get("format") != FORMAT:
                raise FileError(f"{path}: format is {metadata.get('format')!r:.80}, expected {FORMAT!r}")
            if metadata.get("artifact") != artifact.fingerprint:
                raise FileError(
                    f"{path}: is stale, the latents are of another artifact ({metadata.get('artifact')!s:.12}..., this "
                    f"one is {artifact.fingerprint:.12}...); encode the data set again"
                )
            return {"mu": ((None, network.latent_dim), ("F32",)), "reconstruction": ((None, *image), ("F16",))}

        tensors, metadata = read_tensors(path, spec, optional=("reconstruction",))
        mu, reconstruction = tensors["mu"], tensors.get("reconstruction")
        if mu.numel() and mu.abs().max() > MAX_LATENT:
            raise FileError(f"{path}: holds latents beyond {MAX_LATENT:g}")
        if reconstruction is not None and (len(reconstruction) != len(mu) or not _in_unit(reconstruction)):
            raise FileError(f"{path}: expected a reconstruction in [0, 1] for each of {len(mu)} latents")
        return cls(mu, reconstruction, metadata["artifact"]), metadata


def _in_unit(images: Tensor) -> bool:
    low, high = images.aminmax() if images.numel() else (images.new_zeros(()), images.new_zeros(()))
    return bool(low >= 0 and high <= 1)


DIFFERENCES = {
    "known_by": "it was encoded with files= and is loaded without, or the other way round",
    "names": "other files, or in another order",
    "times": "the sizes or times of its files have changed",
    "pixels": "other images, or in another order",
}


class IndexedDataset(Subset):
    """A data set that adds each sample's index: (image, label) => (image, label, index), or a key "index" in a mapping.

    It is a ``Subset`` of the whole data set, for code that unwraps subsets. Every other attribute (``classes``,
    ``targets``) is that of the data set.
    """

    def __init__(self, data: Any) -> None:
        super().__init__(data, range(len(data)))

    def __getattr__(self, name: str) -> Any:
        if name == "dataset" or name.startswith("__"):  # while unpickling, "dataset" does not exist yet
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
    """Split a batch of an ``IndexedDataset`` into the batch of the data set itself and its indices."""
    if isinstance(batch, Mapping):
        index = batch.get("index")
        rest: Any = {name: value for name, value in batch.items() if name != "index"}
    else:
        *rest, index = batch
        if len(rest) < 2:  # only an image and its label, so the last element is the label
            index = None
        rest = tuple(rest) if isinstance(batch, tuple) else rest
    if not isinstance(index, Tensor) or index.dtype != torch.int64 or index.ndim != 1:
        raise ValueError(
            'with latents= the last element of a batch, or its "index", must be the images\' indices, int64 (B,); '
            "wrap the data set: DataLoader(cache.dataset(data), ...)"
        )
    return rest, index


class _Images(Dataset):
    """The images of a data set, converted to the artifact's network input, float32 (C, S, S) in [-1, 1]."""

    def __init__(self, data: Any, artifact: Artifact) -> None:
        self.data, self.artifact = data, artifact

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Tensor:
        return model_input(self.unit(index)[None], self.artifact.network)[0]

    def unit(self, index: int) -> Tensor:
        """The image as the data set returns it, converted to float32 (1 or 3, H, W) in [0, 1]."""
        flat, _ = tree_flatten(self.data[index])
        positions = image_positions(flat)
        if not positions:
            check_no_unseen_image(flat)
        if len(positions) != 1:
            raise ValueError(f"expected samples with one image, sample {index} has {len(positions)}")
        image = flat[positions[0]]
        if isinstance(image, PIL.Image.Image):
            image = mode_to_bytes(pil_to_mode(image, image.mode if image.mode in ("L", "RGB") else "RGB"))
        image = image.as_subclass(Tensor)
        check_channels(image)
        check_unit(image, image.dtype)
        return tensor_to_unit(image)


def _label_column(labels: Sequence[int] | Tensor | None, n: int, artifact: Artifact) -> Tensor | None:
    """The labels for G, int64 (n,), or None if G is unconditional."""
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


def _unusual(data: Any, files: Sequence[str | Path] | None) -> list[int]:
    """Up to ``UNUSUAL`` of the images whose files are read differently by others."""
    found = _files(data) if files is None else files
    unusual = [number for number, file in enumerate(found or ()) if not is_plain(str(file))]
    return unusual[:: -(-len(unusual) // UNUSUAL) or 1]


def _stamp(images: _Images, files: Sequence[str | Path] | None) -> dict[str, str]:
    """What identifies a data set: its files or, without files, its pixels."""
    found = _files(images.data) if files is None else [os.path.abspath(file) for file in files]
    if found is None:
        digest = _digest()
        for i in range(len(images)):
            pixels = unit_to_tensor(images.unit(i), torch.uint8)
            digest.update(repr(tuple(pixels.shape)).encode() + pixels.contiguous().numpy().tobytes())
        return {"known_by": "pixels", "pixels": digest.hexdigest()}
    if len(found) != len(images):
        raise ValueError(f"expected one file for each of {len(images)} images, got {len(found)} files")
    root, names, times = os.path.commonpath(found), _digest(), _digest()
    for file in found:
        stat = os.stat(file)
        names.update(os.fsencode(os.path.relpath(file, root)) + b"\0")
        times.update(f"{stat.st_size} {stat.st_mtime_ns}\0".encode())
    return {"known_by": "files", "names": names.hexdigest(), "times": times.hexdigest()}


def _digest() -> Any:
    return hashlib.blake2b(digest_size=16)


def _files(data: Any) -> list[str] | None:
    """The files behind a data set in its order, as torchvision's folders list them. Subsets are unwrapped."""
    if isinstance(data, Subset):
        files = _files(data.dataset)
        return None if files is None else [files[i] for i in data.indices]
    samples = getattr(data, "samples", None)
    if not isinstance(samples, list) or not all(isinstance(s, tuple) and isinstance(s[0], str | Path) for s in samples):
        return None
    return [os.path.abspath(sample[0]) for sample in samples] or None
