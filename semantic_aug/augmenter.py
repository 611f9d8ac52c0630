"""What the per-sample transform and the batch wrapper share: settings, weights loaded on first use, randomness."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
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
from torchvision.transforms.v2 import functional as F

from semantic_aug.functional import model_input, semantic_augment_image
from semantic_aug.images import check_channels, check_unit, denormalise, normalise, tensor_to_unit
from semantic_aug.labels import are_names, default_labels, label_table
from semantic_aug.model.artifact import MODES, Artifact, Mode
from semantic_aug.model.domain import Domain
from semantic_aug.model.hub import pin
from semantic_aug.model.runtime import fast_copy
from semantic_aug.model.statistics import POOLED
from semantic_aug.perturb import NEEDS_LABELS, PERTURBATIONS

DEFAULT_CHECKPOINT = "fer2013-48"
EXPLICIT = (PIL.Image.Image, tv_tensors.Image, tv_tensors.Video)
# KeyPoints came with torchvision 0.23.
GEOMETRIC = (
    tv_tensors.BoundingBoxes,
    tv_tensors.Mask,
    *(getattr(tv_tensors, name) for name in ("KeyPoints",) if hasattr(tv_tensors, name)),
)
PerClass = float | Sequence[float] | Mapping[str, float]
LabelsGetter = Callable[[Any], Any] | Literal["default"] | None

LOADED = (
    "_artifacts",
    "_fast",
    "_tables",
    "_range_checked",
    "_domain",
    "_worker_seed",
    "_function",
)  # what pickling leaves behind
KNOWN = ("mu", "reconstruction")  # what need not be computed where a cache gives it


class Augmenter(v2.Transform):
    """Base of ``SemanticAugment`` and ``SemanticAugmentBatch``; its arguments are documented there."""

    def __init__(
        self,
        p: PerClass | None,
        strength: PerClass | None,
        *,
        checkpoint: str | Path | Artifact,
        perturbation: str,
        mode: Mode | None,
        labels_getter: LabelsGetter,
        classes: Sequence[str] | None,
        mean: Sequence[float] | None,
        std: Sequence[float] | None,
        generator: torch.Generator | None,
        device: str | torch.device | None,
        domain_check: bool,
        rank: int | None,
        dtype: torch.dtype | None,
        compile: bool = False,
    ) -> None:
        super().__init__()
        p, strength = _per_class("p", p, 1.0), _per_class("strength", strength, math.inf)
        if mode is not None and mode not in MODES:
            raise ValueError(f"mode must be one of {MODES} or None (the checkpoint's own), got {mode!r}")
        if perturbation not in PERTURBATIONS:
            raise ValueError(f"perturbation must be one of {tuple(PERTURBATIONS)}, got {perturbation!r}")
        if (mean is None) != (std is None):
            raise ValueError("mean and std go together: pass both, as given to Normalize, or neither")
        if std is not None and not all(value > 0 for value in std):
            raise ValueError(f"std must be above 0 in every channel, got {list(std)}")
        if dtype not in (None, torch.float32, torch.bfloat16, torch.float16):
            raise ValueError(f"dtype must be None, torch.float32, torch.bfloat16 or torch.float16, got {dtype}")
        if rank is not None and (isinstance(rank, bool) or not isinstance(rank, int) or rank < 1):
            raise ValueError(f"rank must be an integer of at least 1, or None for all directions, got {rank!r}")
        if labels_getter not in ("default", None) and not callable(labels_getter):
            raise ValueError(f'labels_getter must be a callable, "default" or None, got {labels_getter!r}')
        self._p, self._strength, self._mode, self._perturbation = p, strength, mode, perturbation
        # A Hub id is downloaded here, once, so that workers find one and the same commit in the cache; and a wrong path
        # is found out here, not in a worker.
        # An artifact on a GPU is copied here, where workers cannot.
        self._checkpoint = checkpoint.to("cpu") if isinstance(checkpoint, Artifact) else pin(checkpoint)
        self._labels_getter = labels_getter
        if classes is not None and not are_names(classes):
            raise ValueError(f"classes must be the names of your classes in label order, got {classes!r}")
        self._classes = None if classes is None else list(classes)
        self._mean = None if mean is None else tuple(mean)
        self._std = None if std is None else tuple(std)
        self._generator = generator
        self._device = None if device is None else torch.device(device)
        self._dtype = None if dtype == torch.float32 else dtype
        self._rank = rank
        self._compile = compile
        # In shared memory, so that persistent workers follow: [enabled, domain check decided].
        self._flags = torch.tensor([True, not domain_check], device="cpu").share_memory_()
        self._forget()

    @property
    def classes(self) -> list[str] | None:
        """The data set's class names in label order, or None; may be set until the first use."""
        return self._classes

    @classes.setter
    def classes(self, value: list[str] | None) -> None:
        self._classes = value
        self._forget()

    def _forget(self) -> None:
        """Start without weights and without what was learnt from images seen."""
        self._artifacts: dict[torch.device, Artifact] = {}
        self._fast: dict[torch.device, Artifact] = {}
        self._tables: dict[str, Tensor] = {}
        self._range_checked: set[torch.device] = set()
        self._domain = Domain()
        self._worker_seed: int | None = None
        self._function: Callable[..., Tensor] = semantic_augment_image
        if self._compile:  # the number of chosen images may differ from batch to batch
            self._function = torch.compile(_copied(semantic_augment_image), fullgraph=True, dynamic=True)

    def __copy__(self) -> "Augmenter":
        # With the very same generator and artifact, which pickling would replace.
        copied = type(self).__new__(type(self))
        copied.__dict__.update(self.__dict__)
        copied._forget()
        return copied

    def __getstate__(self) -> dict[str, Any]:
        # Workers get the reference, not the weights; an artifact without a directory goes whole.
        state = {name: value for name, value in self.__dict__.items() if name not in LOADED}
        if isinstance(self._checkpoint, Artifact) and self._checkpoint.directory is not None:
            state["_checkpoint"] = self._checkpoint.directory
        if self._generator is not None:
            # As bytes: a tensor would travel to a spawned worker as shared memory that is gone when it is opened.
            state["_generator"] = bytes(self._generator.get_state().tolist())
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._flags.share_memory_()
        if isinstance(self._generator, bytes):
            self._generator = torch.Generator().set_state(torch.tensor(list(self._generator), dtype=torch.uint8))
        self._forget()

    @property
    def enabled(self) -> bool:
        """Whether anything is augmented; setting it reaches workers that already run."""
        return bool(self._flags[0])

    @enabled.setter
    def enabled(self, value: bool) -> None:
        self._flags[0] = bool(value)

    @property
    def artifact(self) -> Artifact:
        """The checkpoint, loaded on first use, on the CPU."""
        return self._artifact_on(torch.device("cpu"))

    def _artifact_on(self, device: torch.device) -> Artifact:
        if device not in self._artifacts:
            self._artifacts[device] = self._loaded() if device.type == "cpu" else self.artifact.to(device)
        return self._artifacts[device]

    def _loaded(self) -> Artifact:
        checkpoint = self._checkpoint
        loaded = checkpoint if isinstance(checkpoint, Artifact) else Artifact.load(checkpoint)
        if self._classes is not None:
            label_table(self._classes, loaded.classes)
        return loaded

    def _fast_on(self, device: torch.device) -> Artifact:
        if device not in self._fast:
            _check_dtype(self._dtype, device)
            self._fast[device] = fast_copy(self._artifact_on(device), device, self._dtype)
        return self._fast[device]

    def _setting(self, name: str, labels: Tensor) -> Tensor:
        """``p`` or ``strength`` for each of ``labels`` (N,): (N,) where it differs by class, () where it does not."""
        if name not in self._tables:
            value = {"p": self._p, "strength": self._strength}[name]
            recommended = self.artifact.recommended[name]
            self._tables[name] = self._table(name, recommended if value is None else value)
        table = self._tables[name]
        if not table.ndim:
            return table
        if (labels == POOLED).any():
            raise ValueError(f"{name} differs by class, but this sample has no label; call transform(image, label)")
        return table[labels]

    def _table(self, name: str, value: PerClass) -> Tensor:
        """One value as a tensor (), values per class as (K,) in the artifact's order."""
        if isinstance(value, int | float):
            return torch.tensor(float(value), device="cpu")
        known = self.artifact.classes
        names = list(value) if isinstance(value, Mapping) else (self._classes or known)
        values = torch.tensor(
            list(value.values() if isinstance(value, Mapping) else value), dtype=torch.float32, device="cpu"
        )
        needed = self._classes or known
        table = torch.full((len(known),), math.nan, device="cpu")
        if len(values) == len(names):
            table[label_table(names, known)] = values
        if table[label_table(needed, known)].isnan().any():
            raise ValueError(f"{name} must have a value for each of {list(needed)}, got {value!r}")
        return table

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw everything random for images of one leading shape: ``coin`` (...) in [0, 1) and ``noise`` (..., d)."""
        shapes = {leading_shape(image) for image in flat_inputs}
        if len(shapes) > 1:
            raise ValueError(f"the images of one sample have different batch shapes: {sorted(shapes)}; expected one")
        shape = shapes.pop() if shapes else ()
        generator = self._worker_generator()
        return {
            "coin": _coins(shape, generator),
            "noise": torch.randn(*shape, self.artifact.network.latent_dim, generator=generator, device="cpu"),
            "labels": torch.full(shape, POOLED, device="cpu"),
        }

    def _worker_generator(self) -> torch.Generator | None:
        worker = get_worker_info()
        if self._generator is not None and worker is not None and worker.seed != self._worker_seed:
            # Every worker holds a copy of the same generator: without its own seed all would draw alike.
            self._worker_seed = worker.seed
            self._generator.manual_seed((self._generator.initial_seed() * 0x9E3779B1 + worker.seed) % 2**63)
        return self._generator

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        """Refuse what a decoded image would make wrong, and what cannot be told apart."""
        for leaf in flat_inputs:
            if isinstance(leaf, GEOMETRIC):
                raise TypeError(
                    f"a sample with {type(leaf).__name__} was given; a decoded image has another pose or identity, so "
                    f"boxes, masks and keypoints would no longer fit it. Augment images that have class labels only"
                )

    def forward(self, *inputs: Any, latents: Mapping[str, Tensor] | None = None) -> Any:
        """Augment the images of a sample; everything else comes back as the same objects.

        ``latents`` of these very images, as a ``LatentCache`` gives them, save encoding.
        """
        sample = inputs[0] if len(inputs) == 1 else inputs
        return self.apply(sample, self.draw(sample, latents))

    def draw(self, sample: Any, latents: Mapping[str, Tensor] | None = None) -> dict[str, Any] | None:
        """Check a sample, find its labels, draw its randomness, all on the CPU; None where nothing is to be done."""
        if not self.enabled:
            return None
        flat, _ = tree_flatten(sample)
        self.check_inputs(flat)
        images = [flat[position] for position in image_positions(flat)]
        labels = self.labels_of(sample, images)
        if not images:
            for leaf in flat:
                if F.is_pure_tensor(leaf) and leaf.ndim >= 3:
                    tensor_to_unit(leaf)  # raises TypeError: an image of integers would pass unseen
            return None
        params = self.make_params(images)
        if labels is not None:
            params["labels"] = labels
        return params if latents is None else params | self._check_latents(latents, images)

    def _check_latents(self, latents: Mapping[str, Tensor], images: list[Any]) -> dict[str, Tensor]:
        network = self.artifact.network
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
        """Augment a sample with what ``draw`` drew for it, on whatever device its images have come to since."""
        if params is None:
            return sample
        flat, spec = tree_flatten(sample)
        for position in image_positions(flat):
            flat[position] = self.transform(flat[position], params)
        return tree_unflatten(flat, spec)

    def labels_of(self, sample: Any, images: list[Any]) -> Tensor | None:
        """Class indices of the artifact, of the leading shape of ``images``, or None where there are none."""
        if callable(self._labels_getter):
            found = self._labels_getter(sample)
        else:
            found = default_labels(sample) if self._labels_getter == "default" else None
        if found is None or not images:
            return None
        if isinstance(found, Integral):  # numpy's too
            found = torch.tensor(int(found), device="cpu")
        if not isinstance(found, Tensor):
            raise TypeError(f"labels must be a tensor or an int, got {type(found).__name__}; pass labels_getter=")
        shape = leading_shape(images[0])
        if found.is_floating_point():
            if found.shape[:-1] != shape or found.ndim == 0 or found.shape[-1] != self._num_classes():
                raise ValueError(
                    f"soft labels must have shape {(*shape, self._num_classes())}, got {tuple(found.shape)}; class "
                    f"indices are integers (labels.long())"
                )
            found = found.argmax(-1)
        elif found.shape != shape:
            raise ValueError(
                f"labels have shape {tuple(found.shape)}, the images {shape}: one label an image is expected"
            )
        return self.class_indices(found)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Augment one image, batch or video; the same object comes back where nothing was chosen."""
        if isinstance(inpt, PIL.Image.Image):
            if inpt.mode not in ("L", "RGB"):
                raise TypeError(
                    f'expected a PIL image in mode "L" or "RGB", got {inpt.mode!r}; call image.convert("RGB")'
                )
            image = F.pil_to_tensor(inpt)
            augmented = self.augment(image, params)
            return inpt if augmented is image else F.to_pil_image(augmented, mode=inpt.mode)
        image = inpt.as_subclass(Tensor)
        augmented = self.augment(image, params)
        if augmented is image:
            return inpt
        if not isinstance(inpt, tv_tensors.TVTensor):
            return augmented
        return tv_tensors.wrap(augmented, like=inpt)

    def augment(self, images: Tensor, params: dict[str, Any]) -> Tensor:
        """Augment the chosen ones of ``images`` (..., C, H, W), given what ``make_params`` drew and the labels."""
        coin, labels = params["coin"].flatten(), params["labels"].flatten()
        p, strength = self._setting("p", labels), self._setting("strength", labels)
        if self._perturbation in NEEDS_LABELS and (labels == POOLED).any():
            raise ValueError(f"perturbation {self._perturbation!r} needs a label; call transform(image, label)")
        index = (coin < p).nonzero().flatten()  # found on the CPU: a GPU is not waited for
        if not len(index) or not images.numel():
            return images
        flat = rows(images, params["coin"].ndim)  # (N, [frames,] C, H, W)
        frames = [1] * (flat.ndim - 4)
        chosen = index.to(images.device, non_blocking=True)
        out = flat.clone()
        out[chosen] = self._augment_all(
            flat[chosen],
            params["noise"].reshape(len(coin), *frames, -1)[index],
            labels[index].reshape(-1, *frames),
            (strength if strength.ndim == 0 else strength[index]).reshape(-1, *frames),
            {name: rows(params[name], params["coin"].ndim)[index] for name in KNOWN if name in params},
        )
        return out.reshape(images.shape)

    def _augment_all(
        self, images: Tensor, noise: Tensor, labels: Tensor, strength: Tensor, known: dict[str, Tensor]
    ) -> Tensor:
        device = self._device or images.device
        if device.type == "cuda" and get_worker_info() is not None:
            raise RuntimeError(
                "CUDA cannot be used in a DataLoader worker; augment on the GPU after the loader, with "
                "SemanticAugmentBatch or SemanticLoader, or leave images and device on the CPU"
            )
        check_channels(images)
        artifact = self._artifact_on(device)
        unit = images.to(device)
        if self._mean is not None and self._std is not None:
            if not images.is_floating_point():
                raise TypeError(f"mean and std are given, so normalised floats were expected, got {images.dtype}")
            if not len(self._mean) == len(self._std) == images.shape[-3]:
                raise ValueError(
                    f"mean and std have {len(self._mean)} and {len(self._std)} values, the images {images.shape[-3]} "
                    f"channels; expected one value a channel, as given to Normalize"
                )
            unit = denormalise(unit, self._mean, self._std)
        if device.type == "cpu" or device not in self._range_checked:  # on a GPU the check waits for the device
            check_unit(unit, images.dtype)
            self._range_checked.add(device)
        if not self._flags[1]:
            self._check_domain(unit, artifact)
        mode: Any = self._mode or artifact.recommended["mode"]
        artifact.statistics.factors(artifact.shrinkage, self._rank, unit.device)  # outside what is compiled
        augmented = self._call(
            unit, noise, self._fast_on(device), labels, strength=strength, mode=mode, perturbation=self._perturbation,
            shrinkage=artifact.shrinkage, rank=self._rank, dtype=self._dtype, **known,
        )  # fmt: skip
        if self._mean is not None and self._std is not None:
            augmented = normalise(augmented, self._mean, self._std)
        return augmented.to(images.device, images.dtype)

    def _call(self, *arguments: Any, **settings: Any) -> Tensor:
        try:
            return self._function(*arguments, **settings)
        except RuntimeError as error:
            from torch._dynamo.exc import TorchDynamoException

            if not isinstance(error, TorchDynamoException):
                raise
            reason = next((line for line in str(error).splitlines() if line), type(error).__name__)
            warnings.warn(f"compile=True is given up, for the compiler failed: {reason}", stacklevel=2)
            self._function = semantic_augment_image
            return self._function(*arguments, **settings)

    def _check_domain(self, unit: Tensor, artifact: Artifact) -> None:
        """Warn once where images are none of the checkpoint's."""
        worker = get_worker_info()
        if worker is not None and worker.id != 0:
            return
        first = unit[:, 0] if unit.ndim == 5 else unit  # of a video, whose frames are much alike
        self._domain.look(model_input(tensor_to_unit(first[: self._domain.missing]), artifact), artifact)
        if self._domain.missing:
            return
        self._flags[1] = True
        complaint = self._domain.complaint(artifact)
        if complaint is not None:
            warnings.warn(
                f"{complaint}. Look at them (semantic-aug preview), train a checkpoint on your images (semantic-aug "
                f"train), or pass domain_check=False to silence this",
                UserWarning,
                stacklevel=2,
            )

    def _num_classes(self) -> int:
        return len(self._classes or self.artifact.classes)

    def class_indices(self, labels: Tensor) -> Tensor:
        """Labels as the user's data set numbers them => as the artifact does, int64 on the CPU, checked."""
        labels = labels.detach().to("cpu", torch.int64)
        names = self.artifact.classes
        known = self._num_classes()
        if labels.numel() and (labels.min() < 0 or labels.max() >= known):
            raise ValueError(
                f"labels must lie in 0..{known - 1}, got {int(labels.min())}..{int(labels.max())}; "
                + (
                    f"the checkpoint's classes are {names}; pass classes=dataset.classes to map your labels by name"
                    if self._classes is None
                    else f"classes= has {self._classes}"
                )
            )
        if self._classes is None:
            return labels
        if "classes" not in self._tables:
            self._tables["classes"] = label_table(self._classes, names)
        return self._tables["classes"][labels]

    def extra_repr(self) -> str:
        """The settings that differ from their defaults, and p and strength."""
        checkpoint = self._checkpoint
        if isinstance(checkpoint, Artifact):
            checkpoint = str(checkpoint.directory) if checkpoint.directory else "in memory"
        parts = [
            f"p={self._p}",
            f"strength={self._strength}",
            f"checkpoint={str(checkpoint)!r}",
            f"mode={self._mode!r}",
        ]
        if self._perturbation != "covariance":
            parts.append(f"perturbation={self._perturbation!r}")
        if not self.enabled:
            parts.append("enabled=False")
        return ", ".join(parts)


def image_positions(flat_inputs: Sequence[Any]) -> list[int]:
    """Which leaves of a sample are its images.

    As in v2, PIL images, ``tv_tensors.Image`` and ``Video`` are; only in a sample without any of them a plain tensor
    is, the one with 3 or more dimensions and an image's dtype. Raises ValueError for two such tensors.
    """
    explicit = [i for i, leaf in enumerate(flat_inputs) if isinstance(leaf, EXPLICIT)]
    if explicit:
        return explicit
    plain = [
        i for i, leaf in enumerate(flat_inputs)
        if F.is_pure_tensor(leaf) and leaf.ndim >= 3 and (leaf.dtype == torch.uint8 or leaf.is_floating_point())
    ]  # fmt: skip
    if len(plain) > 1:
        shapes = [tuple(flat_inputs[i].shape) for i in plain]
        raise ValueError(
            f"{len(plain)} plain tensors could be the image, {shapes}; wrap the one that is in tv_tensors.Image"
        )
    return plain


def leading_shape(image: Any) -> tuple[int, ...]:
    """The dimensions that hold different images: none for PIL, ``(...)`` of (..., C, H, W), one less for a video."""
    if not isinstance(image, Tensor):
        return ()
    if image.ndim < 3:
        raise ValueError(f"expected an image of shape (..., C, H, W), got {tuple(image.shape)}")
    return tuple(image.shape[: -4 if isinstance(image, tv_tensors.Video) else -3])


def rows(tensor: Tensor, leading: int) -> Tensor:
    """The first ``leading`` dimensions of a tensor made one: (N, ...)."""
    return tensor.reshape(math.prod(tensor.shape[:leading]), *tensor.shape[leading:])


def _copied(function: Any) -> FunctionType:
    """The same function in a code object of its own, by which torch.compile counts how often it may compile anew."""
    copied = FunctionType(
        function.__code__.replace(), function.__globals__, function.__name__, function.__defaults__,
        function.__closure__,
    )  # fmt: skip
    copied.__kwdefaults__ = function.__kwdefaults__
    return copied


def _coins(shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
    """Numbers uniform in [0, 1), of which, for any p, as near to a share p as can be lie below p.

    A batch thus has one number of chosen images, or two neighbouring ones: what is compiled or tuned for a shape is
    used again.
    """
    n = math.prod(shape)
    strata = torch.randperm(n, generator=generator, device="cpu")
    coins = (strata + torch.rand(n, generator=generator, device="cpu")) / max(n, 1)
    return coins.clamp(max=1 - 2**-24).reshape(shape)  # rounding may give 1, and p = 1 means all


def _check_dtype(dtype: torch.dtype | None, device: torch.device) -> None:
    """Raise ValueError for a precision that the device has not."""
    if (
        dtype == torch.bfloat16
        and device.type == "cuda"
        and not torch.cuda.is_bf16_supported(including_emulation=False)
    ):
        raise ValueError(
            f"dtype torch.bfloat16 is not there on {torch.cuda.get_device_name(device)}; it has torch.float16 and "
            f"torch.float32"
        )


def _per_class(name: str, value: Any, maximum: float) -> PerClass | None:
    """``value``, checked; numpy's and torch's numbers and arrays as Python's."""
    if value is None:
        return None
    if hasattr(value, "tolist"):
        value = value.tolist()
    several = value.values() if isinstance(value, Mapping) else value
    values = [value] if isinstance(value, Real) else list(several)
    for number in values:
        valid = isinstance(number, Real) and not isinstance(number, bool) and math.isfinite(number)
        if not (valid and 0 <= float(number) <= maximum):
            expected = f"in [0, {maximum:g}]" if math.isfinite(maximum) else "finite and >= 0"
            raise ValueError(f"{name} must be {expected}, got {number!r}")
    if not values:
        raise ValueError(f"{name} must be a number or one number per class, got {value!r}")
    return value
