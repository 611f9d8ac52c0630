"""A DataLoader's batches, moved to a device and augmented there."""

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map

from semantic_aug._datasets import dataset_classes
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
    """Wrap a DataLoader of tuples, lists or mappings and yield its batches, augmented, on ``device``.

    On a GPU, the next batch is copied and augmented on a side stream while the current one is used for training. Give
    the DataLoader ``pin_memory=True``. If the data set names its classes (``classes``, ``class_to_idx``, or the
    ``ClassLabel`` of Hugging Face), its labels are mapped to the checkpoint's by name, unless ``augment`` has its own
    ``classes``. A ``target_transform`` is taken into account.

    Args:
        loader: a DataLoader, or any iterable of batches.
        augment: the augmentation to apply to every batch.
        device: the device of the batches (None: a GPU if there is one, else the CPU).
        clean_epochs: number of epochs at the end of training that are not augmented, as in the paper.
        epochs: number of epochs of the whole training. It is required with ``clean_epochs``.
        latents: cached latents, so that images need not be encoded. The DataLoader must then load
            ``latents.dataset(data)``. The indices at the end of its batches are removed.

    An epoch is counted each time the loader is iterated, unless ``set_epoch`` is called. ``len()``, ``dataset``,
    ``batch_size``, ``sampler`` and the other settings of a DataLoader are those of ``loader``. Raises ValueError for
    ``clean_epochs`` without ``epochs``, for classes that the checkpoint does not know, and if the parts of a
    ``ConcatDataset`` number their classes differently. Raises LatentsError if the latents belong to another checkpoint
    than ``augment``.

    Example::

        data = [(torch.rand(1, 48, 48), label) for label in range(7) for _ in range(4)]
        loader = DataLoader(data, batch_size=7, shuffle=True)
        batches = SemanticLoader(loader, SemanticAugmentBatch(p=0.5), clean_epochs=1, epochs=2)
        for epoch in range(2):  # the second epoch is not augmented
            for images, labels in batches:  # (7, 1, 48, 48) and (7,), on the device
                pass
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
        self.augment = _with_classes(augment, getattr(loader, "dataset", None))
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
        """Set the epoch of the next iteration, also in the loader's samplers."""
        self.epoch = epoch
        sampler, batch_sampler = (getattr(self.loader, name, None) for name in ("sampler", "batch_sampler"))
        for part in (self.loader, sampler, batch_sampler, getattr(batch_sampler, "sampler", None)):
            if hasattr(part, "set_epoch"):
                part.set_epoch(epoch)  # type: ignore[union-attr]

    @property
    def clean(self) -> bool:
        """Whether the next epoch is one of the last ones, which are not augmented."""
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
            # Draw while the labels are on the CPU, so that we never wait for a GPU.
            params = None if clean else self.augment.draw(batch, known)
            return self.augment.apply(tree_map(self._move, batch), params)

        if self.device.type == "cuda":
            return _prefetched(self.loader, prepare, self.device)
        return map(prepare, self.loader)

    def _move(self, leaf: Any) -> Any:
        # An asynchronous copy from a GPU to the CPU could be read before it is complete.
        asynchronous = self.device.type == "cuda"
        return leaf.to(self.device, non_blocking=asynchronous) if isinstance(leaf, Tensor) else leaf


def _prefetched(batches: Iterable[Any], prepare: Callable[[Any], Any], device: torch.device) -> Iterator[Any]:
    """Prepare each batch on a side stream while the previous one is in use."""
    side = torch.cuda.Stream(device)
    ready = None
    for batch in batches:
        if any(isinstance(leaf, Tensor) and leaf.is_cuda for leaf in tree_flatten(batch)[0]):
            # The batch was made on the consumer's stream, after the current step. A batch on the CPU need not wait.
            side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side):
            following = prepare(tree_map(lambda leaf: _recorded(leaf, side), batch))
        if ready is not None:
            yield ready
        # The consumer's stream waits for the side stream, and the allocator learns that both use the memory.
        current = torch.cuda.current_stream(device)
        current.wait_stream(side)
        ready = tree_map(lambda leaf, used_by=current: _recorded(leaf, used_by), following)
    if ready is not None:
        yield ready


def _recorded(leaf: Any, stream: torch.cuda.Stream) -> Any:
    if isinstance(leaf, Tensor) and leaf.is_cuda:
        leaf.record_stream(stream)
    return leaf


def _with_classes(augment: SemanticAugmentBatch, dataset: Any) -> SemanticAugmentBatch:
    classes = dataset_classes(dataset) if augment.classes is None else None
    if classes is None:
        return augment
    copied = copy.copy(augment)
    copied.classes = classes
    return copied
