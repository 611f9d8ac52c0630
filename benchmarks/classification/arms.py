"""The arms of the benchmark: what each does to the batches of a training, and its settings.

A batch passes an arm twice. ``change`` sees the images as they are stored, uint8, before the base augmentation, for the
checkpoint was trained on such; ``mix`` sees the finished batch and makes its labels soft. All randomness comes from the
run's seed.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import v2

from benchmarks.classification.randaugment import OPERATIONS, OPERATIONS_PER_IMAGE, randaugment
from benchmarks.classification.remix import remix
from benchmarks.classification.smote import neighbours, smote
from semantic_aug import Artifact, ClassStatistics, SemanticAugmentBatch
from semantic_aug.artifact import MODES
from semantic_aug.functional import blend, decoded, model_input
from semantic_aug.images import tensor_to_unit, unit_to_tensor
from semantic_aug.sampling import evenly, seeded
from semantic_aug.trainer.data import BalancedOrder, EndlessOrder, ImageSet

Change = Callable[[Tensor, Tensor, Tensor], Tensor]  # images on the device, labels and indices on the CPU => images
Mix = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # images, labels, both on the device => images, soft labels


@dataclass(frozen=True)
class Context:
    """What an arm knows of the run that it takes part in; ``data`` is what is trained on."""

    data: ImageSet
    settings: Mapping[str, Any]
    seed: int
    device: torch.device
    artifact: Artifact | None = None

    @property
    def dtype(self) -> torch.dtype | None:
        """Of networks under autocast."""
        return torch.bfloat16 if self.settings["precision"] == "bf16" else None


# --- What arms do -----------------------------------------------------------------------------------------------


def semantic(context: Context) -> Change:
    """Ours and its ablations: the product as users call it."""
    artifact, settings = context.artifact, context.settings
    assert artifact is not None
    counts = context.data.counts()
    statistics = borrowed(artifact.statistics, settings["borrow"]) if "borrow" in settings else artifact.statistics
    recommended = artifact.recommended | {"shrinkage": settings["shrinkage"]}
    p = graded(settings["p"], settings.get("p_tail"), counts)
    if "repeats" in settings:
        p = (torch.tensor(p) * torch.tensor(repeated(counts))).tolist()
    augment = SemanticAugmentBatch(
        p,
        graded(settings["strength"], settings.get("strength_tail"), counts),
        checkpoint=replace(artifact, statistics=statistics, recommended=recommended),
        perturbation=settings["perturbation"],
        mode=settings["mode"],
        classes=context.data.classes,
        generator=seeded(context.seed, "semantic"),
        dtype=context.dtype,
    )

    def change(images: Tensor, labels: Tensor, indices: Tensor) -> Tensor:
        # Drawn while the labels are on the CPU, so that a GPU is not waited for.
        return augment.apply((images, labels), augment.draw((images, labels)))[0]

    return change


def borrowed(statistics: ClassStatistics, k: int) -> ClassStatistics:
    """Each covariance moved toward the mean of those of the k classes whose means lie nearest (after TailCalib).

    With weight d / (n + d), as the shrinkage "pooled" has it: a class of few images borrows most.
    """
    if k >= statistics.num_classes:
        raise ValueError(f"borrow must be below the number of classes, {statistics.num_classes}, got {k}")
    known = statistics.to_tensors()
    count, mean, covariance = known["count"], known["mean"], known["covariance"]
    nearest = torch.cdist(mean, mean).fill_diagonal_(math.inf).topk(k, largest=False).indices
    weight = statistics.dim / (count + statistics.dim)
    moved = torch.lerp(covariance, covariance[nearest].mean(1), weight[:, None, None])
    return ClassStatistics.from_tensors({"count": count, "mean": mean, "covariance": moved})


def latent_smote(context: Context) -> Change:
    """An image's latent moved toward a near one of its class in the whole training set."""
    artifact, settings = context.artifact, context.settings
    assert artifact is not None
    artifact = artifact.to(context.device)
    autocast = torch.autocast(context.device.type, context.dtype, enabled=context.dtype is not None)

    def encode(images: Tensor) -> Tensor:
        with autocast:
            return artifact.encode(model_input(tensor_to_unit(images.to(context.device)), artifact)).float()

    latents = torch.cat([encode(part) for part in context.data.images.split(512)])
    table, count = neighbours(latents, context.data.labels.to(context.device), settings["neighbours"])
    generator = seeded(context.seed, "smote")

    def change(images: Tensor, labels: Tensor, indices: Tensor) -> Tensor:
        coin, uniform = torch.rand(len(images), generator=generator), torch.rand(len(images), 2, generator=generator)
        chosen = (coin < settings["p"]).nonzero().flatten()
        if not len(chosen):
            return images
        uniform = uniform[chosen].to(context.device, non_blocking=True)
        source = indices[chosen].to(context.device, non_blocking=True)
        chosen = chosen.to(context.device, non_blocking=True)
        z, unit = latents[source], tensor_to_unit(images[chosen])
        with autocast:
            before, after = decoded(
                z, smote(z, latents[table[source]], count[source], uniform), artifact, settings["mode"]
            )
        out = images.clone()
        out[chosen] = unit_to_tensor(blend(unit, before, after), images.dtype)
        return out

    return change


def rand_augment(context: Context) -> Change:
    """RandAugment, drawn per image."""
    generator = seeded(context.seed, "randaugment")

    def change(images: Tensor, labels: Tensor, indices: Tensor) -> Tensor:
        shape = (len(images), OPERATIONS_PER_IMAGE)
        operation = torch.randint(len(OPERATIONS), shape, generator=generator)
        return randaugment(images, operation, torch.rand(shape, generator=generator) < 0.5)

    return change


def semantic_then_randaugment(context: Context) -> Change:
    """Ours, and RandAugment on what it makes."""
    first, second = semantic(context), rand_augment(context)
    return lambda images, labels, indices: second(first(images, labels, indices), labels, indices)


def mix_up(context: Context) -> Mix:
    """torchvision's MixUp."""
    return v2.MixUp(alpha=context.settings["alpha"], num_classes=len(context.data.classes))


def cut_mix(context: Context) -> Mix:
    """torchvision's CutMix."""
    return v2.CutMix(alpha=context.settings["alpha"], num_classes=len(context.data.classes))


def re_mix(context: Context) -> Mix:
    """ReMix; one lambda and one permutation a batch."""
    counts = torch.tensor(context.data.counts(), device=context.device)
    alpha = context.settings["alpha"]

    def mix(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        share = float(torch.distributions.Beta(alpha, alpha).sample())
        partner = torch.randperm(len(images)).to(context.device, non_blocking=True)
        return remix(images, labels, partner, share, counts)

    return mix


def graded(head: float, tail: float | None, counts: Sequence[int]) -> float | list[float]:
    """A value per class, linear in the logarithm of its count: ``head`` for the largest, ``tail`` for the smallest.

    One value for all where ``tail`` is None or all classes are equally large.
    """
    span = math.log(max(counts) / min(counts))
    if tail is None or not span:
        return head
    return [head + (tail - head) * math.log(max(counts) / count) / span for count in counts]


def repeated(counts: Sequence[int]) -> list[float]:
    """The share of a class's draws, under balanced sampling, that show an image which the epoch has shown before."""
    mean = sum(counts) / len(counts)
    return [max(1 - count / mean, 0.0) for count in counts]


# --- Sampling ---------------------------------------------------------------------------------------------------


class SquareRootOrder(EndlessOrder):
    """An endless stream in which a class is as frequent as the square root of its count, its images evenly used."""

    def __init__(self, labels: Tensor, seed: int) -> None:
        super().__init__(len(labels), seed)
        self._members = [(labels == label).nonzero().flatten() for label in labels.unique()]

    def _draw(self, epoch: int) -> Tensor:
        generator = seeded(self.seed, "square root", epoch)
        roots = torch.tensor([len(members) for members in self._members]).double().sqrt()
        # Rounded at the borders between classes, so that the parts add up to the whole.
        ends = (roots.cumsum(0) / roots.sum() * self.n).round().long()
        parts = []
        for members, wanted in zip(self._members, ends.diff(prepend=ends.new_zeros(1)).tolist(), strict=True):
            parts.append(evenly(members, wanted, generator))
        drawn = torch.cat(parts)
        return drawn[torch.randperm(len(drawn), generator=generator)]


SAMPLING: dict[str, Callable[[Tensor, int], EndlessOrder]] = {
    "natural": lambda labels, seed: EndlessOrder(len(labels), seed),
    "balanced": BalancedOrder,
    "sqrt": SquareRootOrder,
}


# --- The arms ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Arm:
    """One row of the table.

    Attributes:
        summary: what it is, for --help.
        settings: its own, with their defaults; where the default is None, the checkpoint's recommended value, if
            there is one, is taken.
        change, mix: see the module; None where it does nothing there.
        artifact: whether it uses the checkpoint.
    """

    summary: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    change: Callable[[Context], Change] | None = None
    mix: Callable[[Context], Mix] | None = None
    artifact: bool = False

    @property
    def augments(self) -> bool:
        """Whether it alters images, so that its last epochs are left clean."""
        return self.change is not None or self.mix is not None


def _semantic(
    summary: str, change: Callable[[Context], Change] = semantic, mix: Callable[[Context], Mix] | None = None,
    **settings: Any,
) -> Arm:  # fmt: skip
    own = {"perturbation": "covariance", "mode": None, "strength": None, "p": None, "shrinkage": None,
           "p_tail": None, "strength_tail": None}  # fmt: skip
    return Arm(summary, own | settings, change, mix, artifact=True)


ARMS: dict[str, Arm] = {
    "none": Arm("natural sampling", {"sampling": "natural"}),
    "balanced": Arm("every class equally frequent, as in all arms below that do not say otherwise"),
    "randaugment": Arm("RandAugment, drawn per image", change=rand_augment),
    "mixup": Arm("MixUp", {"alpha": 0.2}, mix=mix_up),
    "cutmix": Arm("CutMix", {"alpha": 1.0}, mix=cut_mix),
    "remix": Arm("ReMix", {"alpha": 1.0}, mix=re_mix),
    "isda": Arm("implicit semantic data augmentation, of features", {"lambda0": 0.5}),
    "isotropic": _semantic("z' ~ N(mu, s tr(Sigma_c) / d I)", perturbation="isotropic"),
    "pooled": _semantic("z' ~ N(mu, s Sigma), one Sigma for all classes", perturbation="pooled"),
    "class-gaussian": _semantic(
        "z' ~ N(mean_c, Sigma_c), as BAGAN and IDA-GAN", perturbation="class-gaussian", mode="decode", strength=1.0
    ),
    "smote": Arm(
        "z' between neighbours of a class", {"mode": "decode", "p": None, "neighbours": 5}, latent_smote, artifact=True
    ),
    "ours-decode": _semantic("z' ~ N(mu, s Sigma_c), x' = G(z')", mode="decode"),
    "ours-detail": _semantic("z' ~ N(mu, s Sigma_c), x' = x + G(z') - G(mu)", mode="detail"),
    "ours-nearest": _semantic("ours-detail, Sigma_c moved toward the nearest classes'", mode="detail", borrow=2),
    "ours-repeats": _semantic(
        "ours-detail, p the share of a class's draws that are repeats", mode="detail", p=1.0, repeats=True
    ),
    "ours-mixup": _semantic("ours-detail, then MixUp", mix=mix_up, mode="detail", alpha=0.2),
    "ours-randaugment": _semantic("ours-detail, then RandAugment", semantic_then_randaugment, mode="detail"),
    "ours-natural": _semantic(
        "ours-detail, natural sampling, p rising toward the tail",
        mode="detail", sampling="natural", p=0.25, p_tail=0.75,
    ),
    "ours-sqrt": _semantic("ours-detail, a class as frequent as its count's root", mode="detail", sampling="sqrt"),
}  # fmt: skip

COMMON = {"batch": 128, "learning_rate": 0.1, "sampling": "balanced", "size": 48, "channels": 1, "precision": "bf16"}
CLEAN = 1 / 8  # of the epochs, the last ones, on originals
# Setting => what it may be: one of some values, or a number of a type and range. The product checks the others.
ALLOWED: dict[str, tuple[Any, ...]] = {
    "batch": (int, 2, math.inf), "learning_rate": (float, 1e-6, 100), "sampling": tuple(SAMPLING),
    "size": (int, 16, 1024), "channels": (1, 3), "precision": ("bf16", "fp32"), "clean_epochs": (int, 0, math.inf),
    "alpha": (float, 1e-6, math.inf), "lambda0": (float, 0, math.inf), "neighbours": (int, 1, math.inf),
    "borrow": (int, 1, math.inf), "repeats": (True,), "mode": MODES, "p": (float, 0, 1),
    "strength": (float, 0, math.inf),
}  # fmt: skip


def resolve(
    name: str, changed: Mapping[str, Any], epochs: int, artifact: Artifact | None, data: ImageSet
) -> dict[str, Any]:
    """All settings of an arm as they will be used, a checkpoint's name and fingerprint among them.

    Raises ValueError for a setting that the arm does not have, and for a value that cannot be.
    """
    arm = ARMS[name]
    settings = COMMON | arm.settings | ({"clean_epochs": round(epochs * CLEAN)} if arm.augments else {})
    unknown = [setting for setting in changed if setting not in settings]
    if unknown:
        raise ValueError(f"arm {name!r} has no setting {unknown[0]!r}; it has {', '.join(settings)}")
    settings |= changed
    if arm.artifact:
        assert artifact is not None
        recommended = {key: value for key, value in artifact.recommended.items() if settings.get(key, "") is None}
        directory = artifact.directory or Path("in memory")
        settings |= recommended | {"checkpoint": directory.resolve().name, "fingerprint": artifact.fingerprint[:12]}
    settings = {key: checked(key, value) for key, value in settings.items()}
    if "perturbation" in arm.settings and artifact is not None:  # ours and its ablations
        semantic(Context(data, settings, 0, torch.device("cpu"), artifact))
        artifact.statistics.covariance(0, settings["shrinkage"])
    return settings


def checked(name: str, value: Any) -> Any:
    """``value``, as a float where the setting is one, for 1 and 1.0 are the same setting."""
    allowed = ALLOWED.get(name, (value,))
    if not isinstance(allowed[0], type):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {allowed}, got {value!r}")
        return value
    kind, low, high = allowed
    if not isinstance(value, int | kind) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{name} must be a number ({kind.__name__}) in [{low:g}, {high:g}], got {value!r}")
    return kind(value)
