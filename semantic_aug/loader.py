"""A DataLoader's batches, moved to a device and augmented there."""

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.data import ConcatDataset, Subset

from semantic_aug.labels import are_names
from semantic_aug.latents import LatentCache, LatentsError, split_index
from semantic_aug.transform import SemanticAugmentBatch

FORWARDED = (
    "batch_sampler",
    "batch_size",
    "collate_fn",
    "dataset",
    "drop_last",
    "generator",
    "multiprocessing_context",
    "num_workers",
    "persistent_workers",
    "pin_memory",
    "prefetch_factor",
    "sampler",
    "timeout",
    "worker_init_fn",
)


class SemanticLoader:
    """Wraps any DataLoader (of tuples, lists or mappings) and yields its batches on ``device``, augmented.

    On a GPU the next batch is copied and augmented on a side stream while the current one is trained on; give the
    DataLoader ``pin_memory=True``. The data set's ``classes``, where it has any, map its labels to the checkpoint's by
    name, unless ``augment`` was given ``classes``.

    Args:
        loader: a DataLoader, or any iterable of batches.
        augment: applied to every batch.
        device: where to (None: a GPU if there is one, else the CPU).
        clean_epochs: so many last epochs of ``epochs`` are not augmented (the paper's last epochs on originals).
        epochs: epochs of the whole training; needed with ``clean_epochs``.
        latents: of the images of ``latents.dataset(data)``, which the DataLoader then loads; encoding is saved. The
            indices, last in its batches, are taken off again.

    Epochs are counted by iterations, unless ``set_epoch`` says otherwise. ``len()``, ``dataset``, ``batch_size``,
    ``sampler`` and the other settings of a DataLoader are those of ``loader``. Raises ValueError for ``clean_epochs``
    without ``epochs``, and LatentsError for latents of another checkpoint than that of ``augment``.
    """

    def __init__(
        self,
        loader: Iterable[Any],
        augment: SemanticAugmentBatch,
        *,
        device: str | torch.device | None = None,
        clean_epochs: int = 0,
        epochs: int | None = None,
        latents: LatentCache | None = None,
    ) -> None:
        if clean_epochs < 0 or (clean_epochs and (epochs is None or epochs < clean_epochs)):
            raise ValueError(f"clean_epochs must lie in 0..epochs, got clean_epochs={clean_epochs}, epochs={epochs}")
        if device is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.loader = loader
        self.augment = _with_classes(augment, _classes(getattr(loader, "dataset", None)))
        self.device = torch.device(device)
        self.clean_epochs, self.epochs = clean_epochs, epochs
        self.latents = latents
        self.epoch = 0

    def __getattr__(self, name: str) -> Any:
        if name in FORWARDED:
            return getattr(self.loader, name)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}; its DataLoader's is loader.{name}")

    def __len__(self) -> int:
        return len(self.loader)  # type: ignore[arg-type]

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next iteration is; the loader's samplers are told too."""
        self.epoch = epoch
        sampler, batch_sampler = (getattr(self.loader, name, None) for name in ("sampler", "batch_sampler"))
        for part in (self.loader, sampler, batch_sampler, getattr(batch_sampler, "sampler", None)):
            if hasattr(part, "set_epoch"):
                part.set_epoch(epoch)  # type: ignore[union-attr]

    @property
    def clean(self) -> bool:
        """Whether the epoch to come is one of the last, on originals only."""
        return bool(self.clean_epochs) and self.epoch >= (self.epochs or 0) - self.clean_epochs

    def __iter__(self) -> Iterator[Any]:
        clean = self.clean
        self.epoch += 1
        if self.latents is not None and self.latents.fingerprint != self.augment.artifact.fingerprint:
            raise LatentsError("the latents are not those of the augmentation's checkpoint; encode the data set again")

        def prepare(batch: Any) -> Any:
            known = None
            if self.latents is not None:
                batch, index = split_index(batch)
                known = self.latents[index] if not clean else None
            # Drawn while the labels are on the CPU, so that a GPU is never waited for.
            params = None if clean else self.augment.draw(batch, known)
            return self.augment.apply(tree_map(self._move, batch), params)

        if self.device.type == "cuda":
            return _prefetched(self.loader, prepare, self.device)
        return map(prepare, self.loader)

    def _move(self, leaf: Any) -> Any:
        # The other way, a copy that is not waited for could be read before it is there.
        asynchronous = self.device.type == "cuda"
        return leaf.to(self.device, non_blocking=asynchronous) if isinstance(leaf, Tensor) else leaf


def _prefetched(batches: Iterable[Any], prepare: Callable[[Any], Any], device: torch.device) -> Iterator[Any]:
    """Prepare each batch on a side stream while the one before it is used."""
    side = torch.cuda.Stream(device)
    ready = None
    for batch in batches:
        if any(isinstance(leaf, Tensor) and leaf.is_cuda for leaf in tree_flatten(batch)[0]):
            # Made on the consumer's stream, behind the step that is under way. A batch on the CPU waits for nothing.
            side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side):
            following = prepare(tree_map(lambda leaf: _recorded(leaf, side), batch))
        if ready is not None:
            yield ready
        # The consumer's stream waits for the side stream, and the allocator learns who else uses the memory.
        current = torch.cuda.current_stream(device)
        current.wait_stream(side)
        ready = tree_map(lambda leaf, used_by=current: _recorded(leaf, used_by), following)
    if ready is not None:
        yield ready


def _recorded(leaf: Any, stream: torch.cuda.Stream) -> Any:
    if isinstance(leaf, Tensor) and leaf.is_cuda:
        leaf.record_stream(stream)
    return leaf


def _classes(dataset: Any) -> Any:
    """What a data set, or what it is made of, calls its classes; None where it says nothing, or its parts differ."""
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    if isinstance(dataset, ConcatDataset):
        first, *others = map(_classes, dataset.datasets)
        return first if all(other == first for other in others) else None
    return getattr(dataset, "classes", None)


def _with_classes(augment: SemanticAugmentBatch, classes: Any) -> SemanticAugmentBatch:
    if classes is None or augment.classes is not None:
        return augment
    if not are_names(classes):
        raise ValueError(
            f"the data set's classes are {classes!r:.80}, not a list of names; pass classes= to the augmentation, the "
            f"checkpoint's names in the order of your labels"
        )
    copied = copy.copy(augment)
    copied.classes = classes
    return copied
