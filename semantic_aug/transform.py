"""The transforms: per sample for torchvision pipelines, and label-aware per batch."""

from __future__ import annotations  # so that help() shows "PerClass" and not the types that it stands for

import copy
import math
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType
from typing import Any, Literal

import PIL.Image
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten
from torch.utils.data import get_worker_info
from torchvision import tv_tensors
from torchvision.transforms import v2

from semantic_aug._per_class import PerClass, check_per_class, look_up, per_class_table
from semantic_aug._random import stratified
from semantic_aug._samples import (
    check_no_geometry,
    check_no_unseen_image,
    columns_as_rows,
    flatten_leading,
    image_positions,
    leading_shape,
)
from semantic_aug.functional import model_input, semantic_augment_image
from semantic_aug.images import (
    bytes_to_pil,
    check_channels,
    check_unit,
    denormalise,
    mode_to_bytes,
    normalise,
    tensor_to_unit,
)
from semantic_aug.labels import are_named, as_class_indices, class_names, default_labels, label_table
from semantic_aug.model.artifact import Artifact
from semantic_aug.model.domain import Domain
from semantic_aug.model.format import read_config
from semantic_aug.model.hub import pin, resolve
from semantic_aug.model.networks import NetworkConfig
from semantic_aug.model.recommended import MODES, Mode, Recommended
from semantic_aug.model.runtime import LatentModel, check_dtype
from semantic_aug.model.statistics import POOLED
from semantic_aug.perturb import NEEDS_LABELS, NEEDS_OTHERS, PERTURBATIONS

DEFAULT_CHECKPOINT = "fer2013-48"
LISTED = 12  # classes that a message names one by one
KNOWN = ("mu", "reconstruction")  # a cache may provide these, so that they need not be computed
TOGETHER = 64  # rows of a dictionary of lists that are computed at a time, at most
LabelsGetter = Callable[[Any], Any] | Literal["default"] | None


@dataclass
class _Loaded:
    """What a transform has loaded and found out in this process. It is not pickled."""

    lock: Any = field(default_factory=threading.RLock)
    artifact: Artifact | None = None
    models: dict[torch.device, LatentModel] = field(default_factory=dict)
    domain: Domain | None = None
    range_checked: set[torch.device] = field(default_factory=set)
    worker_seed: int | None = None
    function: Callable[..., Tensor] = semantic_augment_image


class SemanticTransform(v2.Transform):
    """Base class of ``SemanticAugment`` and ``SemanticAugmentBatch``, which take the same arguments."""

    def __init__(
        self,
        p: PerClass = 0.5,
        strength: PerClass | None = None,
        *,
        checkpoint: str | Path | Artifact = DEFAULT_CHECKPOINT,
        perturbation: str = "covariance",
        mode: Mode | None = None,
        labels_getter: LabelsGetter = "default",
        classes: Sequence[str] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        generator: torch.Generator | None = None,
        device: str | torch.device | None = None,
        domain_check: bool = True,
        rank: int | None = None,
        dtype: torch.dtype | None = None,
        compile: bool = False,
    ) -> None:
        """
        Args:
            p: probability in [0, 1] of augmenting an image, or one value per class (a sequence, or {class name:
                value}).
            strength: s >= 0, the scale of the latent covariance (Eq. 4), or one value per class. None uses the
                checkpoint's recommendation.
            checkpoint: the name of a bundled checkpoint, a directory, a repository on the Hugging Face Hub
                (``user/repo`` or ``user/repo@revision``), or an ``Artifact``. A local directory takes precedence over
                the Hub. The settings are read at once, and the weights on first use. A Hub checkpoint is downloaded at
                once, and all workers use the same commit.
            perturbation: how a latent is perturbed. "covariance" is the paper's way. "pooled" uses one covariance for
                all classes. "diagonal" ignores correlations. "isotropic" spreads the total variance evenly over all
                directions. "class-gaussian" draws a new sample of the class that ignores the image. "interpolate"
                moves toward another chosen image of the class in the batch. "pairs" adds the difference of two other
                images of the class in the batch, or of another class if there are no two. The last three need labels.
            mode: "decode" (the paper's G(z')) or "detail" (x + G(z') - G(mu)). None uses the checkpoint's
                recommendation.
            labels_getter: how to find the labels in a sample: "default" (the second element, or one of the keys
                "labels", "label", "targets", "target", "class" and "cls", or the key that contains "label"), a callable
                that takes the sample, or None (no labels). Labels are class indices, class names or soft labels.
            classes: class names of the data set in label order, or its ``class_to_idx``. Labels are then mapped to the
                checkpoint's classes by name, ignoring case. Without it, label i is the checkpoint's class i, and a
                warning says so once.
            mean, std: the arguments of ``Normalize``, if it comes before this transform.
            generator: a CPU generator for all randomness (None: torch's global generator). In a DataLoader worker, its
                seed is combined with the worker's.
            device: where to compute (None: on the image's device). The result is moved back to the image's device.
            domain_check: warn once if the images look unlike those that the checkpoint was trained on.
            rank: number of leading directions to use of each latent covariance, 1..d (None: all). This saves memory
                with thousands of classes, because the factors of K classes take K d r numbers instead of K d d.
            dtype: bfloat16 or float16 to run the networks under autocast. None runs them in float32.
            compile: compile the augmentation with ``torch.compile``. The first batches then take long. It pays off for
                batches, but not for single images.

        Raises:
            ValueError: settings out of range, classes or labels that the checkpoint does not know, or float images
                outside [0, 1].
            TypeError: boxes, masks or keypoints, an image of another dtype or mode, labels that are neither numbers nor
                names, or a sample in which no image is found but something that looks like one, such as an array.
            RuntimeError: CUDA in a DataLoader worker, or ``compile=True`` and the compiler fails.
        """
        super().__init__()
        _check_names("mode", mode, (*MODES, None))
        _check_names("perturbation", perturbation, tuple(PERTURBATIONS))
        _check_normalisation(mean, std)
        check_dtype(dtype)
        if rank is not None and (isinstance(rank, bool) or not isinstance(rank, int) or rank < 1):
            raise ValueError(f"rank must be an integer of at least 1, or None for all directions, got {rank!r}")
        if labels_getter not in ("default", None) and not callable(labels_getter):
            raise ValueError(f'labels_getter must be a callable, "default" or None, got {labels_getter!r}')
        self._p, self._strength = check_per_class("p", p, 1.0), check_per_class("strength", strength, math.inf)
        self._mode, self._perturbation, self._labels_getter = mode, perturbation, labels_getter
        self._mean, self._std = (None if values is None else tuple(values) for values in (mean, std))
        self._generator = generator
        self._device = None if device is None else torch.device(device)
        self._rank, self._dtype, self._compile = rank, dtype, compile
        # In shared memory, so that changes reach persistent workers.
        self._enabled, self._positions_said = _shared(True), _shared(False)
        self._domain_decided = _shared(not domain_check)
        # A Hub checkpoint is downloaded only here, so that all workers find the same commit in the cache. A wrong path
        # raises here and not in a worker. An artifact on a GPU is copied here because workers cannot do that.
        self._checkpoint = checkpoint.to("cpu") if isinstance(checkpoint, Artifact) else pin(checkpoint)
        self._read_settings()
        self.classes = classes

    def _read_settings(self) -> None:
        """Read the settings of the checkpoint without loading its weights."""
        checkpoint = self._checkpoint
        source = checkpoint if isinstance(checkpoint, Artifact) else read_config(resolve(checkpoint))
        self._known: list[str] = list(source.classes)
        self._recommended: Recommended = source.recommended
        self._network: NetworkConfig = source.network
        self._loaded = _Loaded()

    @property
    def classes(self) -> list[str] | None:
        """The data set's class names in label order. If None, label i is the checkpoint's class i."""
        return self._classes

    @classes.setter
    def classes(self, value: Sequence[str] | None) -> None:
        self._classes = None if value is None else class_names(value)
        self._make_tables()

    def _make_tables(self) -> None:
        """Check and store the settings per class, and the checkpoint's label for each label of the data set."""
        names = self._known if self._classes is None else self._classes
        self._table = label_table(names, self._known)
        p = self._recommended.p if self._p is None else self._p
        strength = self._recommended.strength if self._strength is None else self._strength
        self._p_table = per_class_table("p", p, self._classes, self._known)
        self._strength_table = per_class_table("strength", strength, self._classes, self._known)

    # --- Copies and pickles ---------------------------------------------------------------------------------------

    def __copy__(self) -> SemanticTransform:
        # A copy shares the generator and the artifact, which pickling would replace.
        copied = type(self).__new__(type(self))
        copied.__dict__.update(self.__dict__, _loaded=_Loaded())
        return copied

    def __getstate__(self) -> dict[str, Any]:
        # Workers get a reference instead of the weights. An artifact without a directory is pickled whole.
        derived = ("_loaded", "_table", "_p_table", "_strength_table")
        state = {name: value for name, value in self.__dict__.items() if name not in derived}
        if isinstance(self._checkpoint, Artifact) and self._checkpoint.directory is not None:
            state["_checkpoint"] = self._checkpoint.directory
        if self._generator is not None:
            # As bytes, because a tensor would be sent as shared memory that no longer exists when a spawned worker
            # opens it.
            state["_generator"] = bytes(self._generator.get_state().tolist())
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for name in ("_enabled", "_domain_decided", "_positions_said"):
            flag = getattr(self, name)
            setattr(self, name, _shared(bool(flag)) if flag.is_inference() else flag.share_memory_())
        if isinstance(self._generator, bytes):
            stored = torch.tensor(list(self._generator), dtype=torch.uint8, device="cpu")
            self._generator = torch.Generator().set_state(stored)
        self._loaded = _Loaded()
        self._make_tables()

    # --- What is loaded on first use ------------------------------------------------------------------------------

    @property
    def enabled(self) -> bool:
        """Whether anything is augmented. Setting it also affects workers that are already running."""
        return bool(self._enabled)

    @enabled.setter
    def enabled(self, value: bool) -> None:
        self._enabled.fill_(bool(value))

    @property
    def artifact(self) -> Artifact:
        """The checkpoint on the CPU, loaded on first use."""
        loaded = self._loaded
        with loaded.lock:
            if loaded.artifact is None:
                checkpoint = self._checkpoint
                found = checkpoint if isinstance(checkpoint, Artifact) else Artifact.from_pretrained(checkpoint)
                if found.classes != self._known:
                    raise ValueError(
                        f"the classes of {checkpoint} were {self._known} when this transform was made and are "
                        f"{found.classes} now; make the transform anew"
                    )
                loaded.artifact = found
            return loaded.artifact

    def _model_on(self, device: torch.device) -> LatentModel:
        loaded = self._loaded
        with loaded.lock:
            if device not in loaded.models:
                loaded.models[device] = LatentModel.of(self.artifact, device, self._dtype, rank=self._rank)
            return loaded.models[device]

    def _worker_generator(self) -> torch.Generator | None:
        worker = get_worker_info()
        if self._generator is not None and worker is not None and worker.seed != self._loaded.worker_seed:
            # Each worker has a copy of the same generator. With the same seed, all would draw the same numbers.
            self._loaded.worker_seed = worker.seed
            self._generator.manual_seed((self._generator.initial_seed() * 0x9E3779B1 + worker.seed) % 2**63)
        return self._generator

    # --- Draw, then apply -----------------------------------------------------------------------------------------

    def forward(self, *inputs: Any, latents: Mapping[str, Tensor] | None = None) -> Any:
        """Augment the images of a sample. Everything else is returned as the same objects.

        Pass ``latents`` of the same images from a ``LatentCache`` so that they need not be encoded.
        """
        sample = inputs[0] if len(inputs) == 1 else inputs
        rows = columns_as_rows(sample)
        if rows is None:
            return self.apply(sample, self.draw(sample, latents))
        columns: Any = copy.copy(sample)
        nested = any(columns_as_rows(row) is not None for row in rows)
        augmented = [self.forward(row) for row in rows] if nested else self._augment_rows(rows)
        columns.update({name: [row[name] for row in augmented] for name in columns})
        return columns

    def _augment_rows(self, rows: list[Any]) -> list[Any]:
        """Augment samples that are drawn one by one and computed several at a time, because that is faster."""
        draws = [self.draw(row) for row in rows]
        augmented = []
        for start in range(0, len(rows), TOGETHER):
            chunk = slice(start, start + TOGETHER)
            augmented += self._apply_each(rows[chunk], draws[chunk])
        return augmented

    def draw(self, sample: Any, latents: Mapping[str, Tensor] | None = None) -> dict[str, Any] | None:
        """Check a sample, find its labels and draw its random numbers, all on the CPU.

        Returns None if there is nothing to do.
        """
        if not self.enabled:
            return None
        flat, _ = tree_flatten(sample)
        self.check_inputs(flat)
        images = [flat[position] for position in image_positions(flat)]
        if not images:
            check_no_unseen_image(flat)
        labels = self.labels_of(sample, images)
        if not images:
            return None
        params = self.make_params(images)
        if labels is not None:
            params["labels"] = labels
        return params if latents is None else params | self._check_latents(latents, images)

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        """Raise TypeError for boxes, masks and keypoints, because they would not fit a decoded image."""
        check_no_geometry(flat_inputs)

    def labels_of(self, sample: Any, images: list[Any]) -> Tensor | None:
        """The artifact's class indices, with the leading shape of ``images``, or None if there are no labels."""
        if callable(self._labels_getter):
            found = self._labels_getter(sample)
        else:
            found = default_labels(sample) if self._labels_getter == "default" else None
        if found is None or not images:
            return None
        names = self._known if self._classes is None else self._classes
        labels = self.class_indices(as_class_indices(found, leading_shape(images[0]), names))
        if self._classes is None and not are_named(found):
            self._say_positions()
        return labels

    def _say_positions(self) -> None:
        """Warn once that labels go by their numbers, because nobody has said what they mean."""
        if self._positions_said or self._known == [str(label) for label in range(len(self._known))]:
            return
        self._positions_said.fill_(True)
        meaning = ", ".join(f"{label} {name}" for label, name in enumerate(self._known[:LISTED]))
        meaning += ", ..." * (len(self._known) > LISTED)
        warnings.warn(
            f"no class names are known, so labels are taken to be the checkpoint's ({meaning}); pass "
            f"classes=dataset.classes, your names in label order",
            UserWarning,
            stacklevel=2,
        )

    def class_indices(self, labels: Tensor) -> Tensor:
        """Check the data set's labels and map them to the artifact's class indices, int64 on the CPU."""
        labels, known = labels.detach().to("cpu", torch.int64), len(self._table)
        if labels.numel() and (labels.min() < 0 or labels.max() >= known):
            raise ValueError(
                f"labels must lie in 0..{known - 1}, got {int(labels.min())}..{int(labels.max())}; "
                + (
                    f"the checkpoint's classes are {self._known}; pass classes=dataset.classes to map your labels by "
                    f"name"
                    if self._classes is None
                    else f"classes= has {self._classes}"
                )
            )
        return self._table[labels]

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw all random numbers for images of one leading shape: ``coin`` (...) in [0, 1) and ``noise`` (..., d)."""
        shapes = {leading_shape(image) for image in flat_inputs}
        if len(shapes) > 1:
            raise ValueError(f"the images of one sample have different batch shapes: {sorted(shapes)}; expected one")
        shape = shapes.pop() if shapes else ()
        d, generator = self._network.latent_dim, self._worker_generator()
        return {
            "coin": stratified(shape, generator),
            "noise": torch.randn(*shape, d, generator=generator, dtype=torch.float32, device="cpu"),
            "labels": torch.full(shape, POOLED, device="cpu"),
        }

    def _check_latents(self, latents: Mapping[str, Tensor], images: list[Any]) -> dict[str, Tensor]:
        network = self._network
        size = (network.channels, network.image_size, network.image_size)
        shapes = {"mu": (network.latent_dim,), "reconstruction": size}
        if "mu" not in latents or not latents.keys() <= shapes.keys():
            raise ValueError(f"latents must have 'mu' and may have 'reconstruction', got {sorted(latents)}")
        if len(images) != 1 or isinstance(images[0], tv_tensors.Video):
            raise ValueError("latents are of one image or one batch of images; this sample has several, or a video")
        for name, tensor in latents.items():
            expected = (*leading_shape(images[0]), *shapes[name])
            if tensor.shape != expected:
                raise ValueError(f"latents[{name!r}] must have shape {expected}, got {tuple(tensor.shape)}")
        return dict(latents)

    def apply(self, sample: Any, params: dict[str, Any] | None) -> Any:
        """Augment a sample with the result of ``draw``. Its images may be on another device by now."""
        return self._apply_each([sample], [params])[0]

    def _apply_each(self, samples: list[Any], draws: list[dict[str, Any] | None]) -> list[Any]:
        trees = [tree_flatten(sample) for sample in samples]
        drawn = [(flat, params) for (flat, _), params in zip(trees, draws, strict=True) if params is not None]
        places = [(flat, position, params) for flat, params in drawn for position in image_positions(flat)]
        images = self._transform_each([flat[i] for flat, i, _ in places], [params for *_, params in places])
        for (flat, position, _), image in zip(places, images, strict=True):
            flat[position] = image
        return [
            sample if params is None else tree_unflatten(flat, spec)
            for sample, params, (flat, spec) in zip(samples, draws, trees, strict=True)
        ]

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Augment one image, batch or video. Returns the same object if nothing was chosen."""
        return self._transform_each([inpt], [params])[0]

    def _transform_each(self, inputs: list[Any], draws: list[dict[str, Any]]) -> list[Any]:
        """Augment the chosen images of ``inputs``, each with its own draw, and those of one shape together."""
        images = [_as_tensor(inpt) for inpt in inputs]
        out = list(inputs)
        groups: dict[Any, list[tuple[int, Tensor, dict[str, Any]]]] = {}
        for i, (image, params) in enumerate(zip(images, draws, strict=True)):
            if found := self._choose(image, params):
                chosen, arguments = found
                own = i if self._perturbation in NEEDS_OTHERS else None  # partners are of the same input
                kind = (arguments["images"].shape[1:], image.dtype, image.device, own)
                groups.setdefault(kind, []).append((i, chosen, arguments))
        for group in groups.values():
            arguments = {name: _cat([each[name] for *_, each in group]) for name in group[0][2]}
            parts = self._augment(**arguments).split([len(chosen) for _, chosen, _ in group])
            for (i, chosen, _), part in zip(group, parts, strict=True):
                flat = flatten_leading(images[i], draws[i]["coin"].ndim).clone()
                flat[chosen] = part
                out[i] = _like(inputs[i], flat.reshape(images[i].shape))
        return out

    def _choose(self, image: Tensor, params: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]] | None:
        """The indices of the chosen images in (..., C, H, W), and the arguments of ``_augment`` for them.

        ``params`` are the result of ``draw``. Returns None if no image is chosen.
        """
        coin, labels, leading = params["coin"].flatten(), params["labels"].flatten(), params["coin"].ndim
        p = look_up("p", self._p_table, labels)
        strength = look_up("strength", self._strength_table, labels)
        if self._perturbation in NEEDS_LABELS and (labels == POOLED).any():
            raise ValueError(f"perturbation {self._perturbation!r} needs a label; call transform(image, label)")
        index = (coin < p).nonzero().flatten()  # on the CPU, so that we never wait for a GPU
        if not len(index) or not image.numel():
            return None
        flat = flatten_leading(image, leading)  # (N, [frames,] C, H, W)
        frames = [1] * (flat.ndim - 4)
        chosen = index.to(image.device, non_blocking=True)
        return chosen, {
            "images": flat[chosen],
            "noise": params["noise"].reshape(len(coin), *frames, -1)[index],
            "labels": labels[index].reshape(-1, *frames),
            "strength": strength.expand(len(coin))[index].reshape(-1, *frames),
            **{name: flatten_leading(params[name], leading)[index] for name in KNOWN if name in params},
        }

    def _augment(self, images: Tensor, noise: Tensor, labels: Tensor, strength: Tensor, **known: Tensor) -> Tensor:
        """Augment all of ``images`` (N, [frames,] C, H, W). ``known`` are latents from a cache."""
        device = self._device or images.device
        if device.type == "cuda" and get_worker_info() is not None:
            raise RuntimeError(
                "CUDA cannot be used in a DataLoader worker; augment on the GPU after the loader, with "
                "SemanticAugmentBatch or SemanticLoader, or leave images and device on the CPU"
            )
        check_channels(images)
        unit = images.to(device)
        if self._mean is not None and self._std is not None:
            unit = denormalise(unit, self._mean, self._std)
        if device.type == "cpu" or device not in self._loaded.range_checked:  # only once on a GPU, because it waits
            check_unit(unit, images.dtype, denormalised=self._mean is not None)
            self._loaded.range_checked.add(device)
        model = self._model_on(device)
        if not self._domain_decided:
            self._check_domain(unit, model)
        augmented = self._call(
            unit,
            noise,
            model,
            labels,
            strength=strength,
            mode=self._mode,
            perturbation=self._perturbation,
            **known,
        )
        if self._mean is not None and self._std is not None:
            augmented = normalise(augmented, self._mean, self._std)
        return augmented.to(images.device, images.dtype)

    def _call(self, *arguments: Any, **settings: Any) -> Tensor:
        """Call ``semantic_augment_image``, compiled if ``compile=True``."""
        if not self._compile:
            return semantic_augment_image(*arguments, **settings)
        loaded = self._loaded
        with loaded.lock:
            if loaded.function is semantic_augment_image:  # dynamic: the number of chosen images varies by batch
                loaded.function = torch.compile(_with_own_code(semantic_augment_image), fullgraph=True, dynamic=True)
        from torch._dynamo.exc import TorchDynamoException

        try:
            return loaded.function(*arguments, **settings)
        except TorchDynamoException as error:
            reason = next((line for line in str(error).splitlines() if line), type(error).__name__)
            raise RuntimeError(
                f"torch.compile failed ({reason}); pass compile=False, which computes the same without it"
            ) from error

    def _check_domain(self, unit: Tensor, model: LatentModel) -> None:
        """Warn once if the images are unlike the checkpoint's training images. Only the first worker warns."""
        worker = get_worker_info()
        if worker is not None and worker.id != 0:
            return
        first = unit[:, 0] if unit.ndim == 5 else unit  # the frames of a video are similar, so one is enough
        loaded = self._loaded
        with loaded.lock:
            loaded.domain = loaded.domain or Domain(self.artifact)
            if not loaded.domain.missing:  # another thread has already decided
                return
            loaded.domain.look(model_input(tensor_to_unit(first[: loaded.domain.missing]), self._network), model)
            if loaded.domain.missing:
                return
            self._domain_decided.fill_(True)
            complaint = loaded.domain.complaint()
        if complaint is not None:
            warnings.warn(
                f"{complaint}. Look at them (semantic-aug preview), train a checkpoint on your images (semantic-aug "
                f"train), or pass domain_check=False to silence this",
                UserWarning,
                stacklevel=2,
            )

    def extra_repr(self) -> str:
        """The main settings in effect, and others that differ from their defaults."""
        checkpoint = self._checkpoint
        if isinstance(checkpoint, Artifact):
            checkpoint = str(checkpoint.directory) if checkpoint.directory else "in memory"
        recommended = self._recommended
        parts = [
            f"p={recommended.p if self._p is None else self._p}",
            f"strength={recommended.strength if self._strength is None else self._strength}",
            f"checkpoint={str(checkpoint)!r}",
            f"mode={self._mode or recommended.mode!r}",
        ]
        if self._perturbation != "covariance":
            parts.append(f"perturbation={self._perturbation!r}")
        if not self.enabled:
            parts.append("enabled=False")
        return ", ".join(parts)


class SemanticAugment(SemanticTransform):
    """Augment an image by encoding it, perturbing its latent and decoding it (arXiv 2411.17254).

    The pose, light or identity may change, but the class should not. Without a label, the covariance pooled over the
    classes is used (``ImageFolder(transform=t)`` passes no label). Call ``transform(image, label)`` to use the
    covariance of the label's class. The result depends only on the image, its label and the noise drawn for it, and not
    on the rest of the batch.

    The input may be a PIL image ("L" or "RGB"), a uint8 tensor, a float tensor in [0, 1], a ``tv_tensors.Image`` or a
    ``Video``, of any size and with any leading dimensions, in any structure that v2 accepts. The output has the same
    type, dtype, device, size and structure. In a batch (..., C, H, W), each image is drawn independently. The frames of
    a video share one draw, and so do several images of one sample. In a dictionary of lists of one length, as Hugging
    Face's ``with_transform`` passes it, each row is a sample of its own, with its own draw, but the networks process
    several rows at a time, which is faster. Anything that is not an image is returned as the same object.

    Example::

        augment = SemanticAugment(p=0.5, strength=0.35)
        transform = v2.Compose([v2.ToImage(), augment, v2.ToDtype(torch.float32, scale=True)])
        image = transform(PIL.Image.new("L", (48, 48)))  # a tv_tensors.Image (1, 48, 48)
    """


class SemanticAugmentBatch(SemanticTransform):
    """Augment a batch with the latent covariance of each image's own class. The labels are returned untouched.

    Call it like ``v2.MixUp``: ``images, labels = augment(images, labels)``, or with a tuple, a list or a mapping. Each
    image is drawn independently. Only the chosen ones are encoded and decoded, on the device of the batch. ``images``
    are (B, C, H, W), uint8 or float in [0, 1]. Labels are class indices or names (B,), or soft (B, K) with rows that
    sum to 1, where the largest value determines the class. It also works in ``collate_fn``.
    ``augment(images, labels, latents=cache[index])`` skips the encoder, see ``LatentCache``. Raises ValueError if a
    batch has no labels.

    Example::

        augment = SemanticAugmentBatch(p=0.5, classes=["happy", "sad"])
        images, labels = augment(torch.rand(8, 3, 64, 64), torch.tensor([0, 1] * 4))
    """

    def labels_of(self, sample: Any, images: list[Any]) -> Tensor | None:
        """Do the same as ``SemanticTransform.labels_of`` for a batch, which must have labels."""
        if len(images) != 1 or not isinstance(images[0], Tensor) or images[0].ndim != 4:
            kinds = [f"{type(image).__name__}{tuple(getattr(image, 'shape', ()))}" for image in images] or "no image"
            raise ValueError(
                f"expected one batch of images (B, C, H, W), got {kinds}; for single images use SemanticAugment"
            )
        labels = super().labels_of(sample, images)
        if labels is None:
            raise ValueError(
                "found no labels in the batch; call augment(images, labels) with a tensor of labels, or pass "
                "labels_getter= to find them"
            )
        return labels


def _as_tensor(image: Any) -> Tensor:
    """A PIL image or a tensor of any kind as a plain tensor (..., C, H, W). Raises TypeError for other PIL modes."""
    if not isinstance(image, PIL.Image.Image):
        return image.as_subclass(Tensor)
    if image.mode not in ("L", "RGB"):
        raise TypeError(f'expected a PIL image in mode "L" or "RGB", got {image.mode!r}; call image.convert("RGB")')
    return mode_to_bytes(image)


def _like(image: Any, augmented: Tensor) -> Any:
    """The tensor ``augmented`` as the type of ``image``."""
    if isinstance(image, PIL.Image.Image):
        return bytes_to_pil(augmented)
    return tv_tensors.wrap(augmented, like=image) if isinstance(image, tv_tensors.TVTensor) else augmented


def _cat(tensors: list[Tensor]) -> Tensor:
    """Concatenate tensors along their first dimension. A single one is not copied."""
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)


def _with_own_code(function: Any) -> FunctionType:
    """Copy a function together with its code object.

    torch.compile counts recompilations by code object and gives up after 8. Transforms with different settings in one
    process would share this limit. torch.compile offers no other way to keep them apart.
    """
    copied = FunctionType(
        function.__code__.replace(),
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copied.__kwdefaults__ = function.__kwdefaults__
    return copied


@torch.inference_mode(False)
def _shared(value: bool) -> Tensor:
    """A flag in shared memory, which may be changed whatever the mode."""
    return torch.tensor(value, device="cpu").share_memory_()


def _check_names(name: str, value: str | None, known: tuple[str | None, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {known}, got {value!r}")


def _check_normalisation(mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
    if (mean is None) != (std is None):
        raise ValueError("mean and std go together: pass both, as given to Normalize, or neither")
    if std is not None and not all(value > 0 for value in std):
        raise ValueError(f"std must be above 0 in every channel, got {list(std)}")
