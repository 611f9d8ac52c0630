"""A DataLoader's batches, moved to a device and augmented there."""

import copy
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler

from semantic_aug._datasets import dataset_classes
from semantic_aug._distributed import rank_and_world
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

    An epoch is counted each time the loader has been iterated to its end, unless ``set_epoch`` is called, as it should
    be with several processes. With ``clean_epochs``, a warning says so if an iteration was not finished. For
    accelerate, wrap what ``accelerator.prepare`` returns for the DataLoader. ``len()``, ``dataset``, ``batch_size``,
    ``sampler`` and the other settings of a DataLoader are those of ``loader``.

    Raises ValueError for
    ``clean_epochs`` without ``epochs``, for classes that the checkpoint does not know, and if the parts of a
    ``ConcatDataset`` number their classes differently. Raises LatentsError if the latents belong to another checkpoint
    than ``augment``, and RuntimeError if each of several processes would iterate over all images.

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
        self.epoch, self._unfinished = 0, False

    def __getattr__(self, name: str) -> Any:
        if name in FORWARDED:
            return getattr(self.loader, name)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}; its DataLoader's is loader.{name}")

    def __len__(self) -> int:
        return len(self.loader)  # type: ignore[arg-type]

    def __repr__(self) -> str:
        return f"SemanticLoader({type(self.loader).__name__}, {self.augment}, device={str(self.device)!r})"

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration, also in the loader's samplers."""
        self.epoch, self._unfinished = epoch, False
        for part in _parts(self.loader):
            if hasattr(part, "set_epoch"):
                part.set_epoch(epoch)

    @property
    def clean(self) -> bool:
        """Whether the next epoch is one of the last ones, which are not augmented."""
        return bool(self.clean_epochs) and self.epoch >= (self.epochs or 0) - self.clean_epochs

    def __iter__(self) -> Iterator[Any]:
        _check_split(self.loader)
        clean, epoch = self.clean, self.epoch
        if self.clean_epochs and self._unfinished:
            warnings.warn(
                f"the last iteration was not finished, so this is taken to be epoch {epoch} again; call "
                f"set_epoch(epoch) before each epoch",
                UserWarning,
                stacklevel=2,
            )
        self._unfinished = True
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
            return self._counted(_prefetched(self.loader, prepare, self.device), epoch)
        return self._counted(map(prepare, self.loader), epoch)

    def _counted(self, batches: Iterator[Any], epoch: int) -> Iterator[Any]:
        """Count the epoch after its last batch, unless it was set meanwhile."""
        yield from batches
        if self.epoch == epoch:
            self.epoch, self._unfinished = epoch + 1, False

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


def _parts(loader: Any) -> Iterator[Any]:
    """A loader, its samplers and theirs."""
    yield loader
    for name in ("batch_sampler", "sampler"):
        if getattr(loader, name, None) is not None:
            yield from _parts(getattr(loader, name))


def _check_split(loader: Any) -> None:
    """Raise RuntimeError if there are several processes and a DataLoader gives all images to each of them."""
    processes = rank_and_world()[1]
    own = getattr(loader, "batch_sampler", None) if type(loader) is DataLoader else None
    if processes > 1 and type(own) is BatchSampler and type(own.sampler) in (RandomSampler, SequentialSampler):
        raise RuntimeError(
            f"each of {processes} processes would iterate over all images; give the DataLoader a "
            f"ClassBalancedSampler or DistributedSampler, or wrap what accelerator.prepare(loader) returns"
        )


def _with_classes(augment: SemanticAugmentBatch, dataset: Any) -> SemanticAugmentBatch:
    classes = dataset_classes(dataset) if augment.classes is None else None
    if classes is None:
        return augment
    copied = copy.copy(augment)
    copied.classes = classes
    return copied
