"""The arms of the benchmark. An arm describes how a run augments, and its name lists its parts.

``none`` is the base augmentation alone. ``a+b`` applies part a to a batch and then part b. For example,
``ours+randaugment`` applies ours first and RandAugment to the result. ``a/b`` shows the network two views of each
image, one augmented by a and one by b, and adds a loss that pulls their features together (``train``). A step then has
half as many images, so that it costs the same.

There are two kinds of parts. A change gets the stored uint8 images, before the base augmentation, because the
checkpoint was trained on such images. A mix gets the finished batch and makes its labels soft. It must come last. In
each step all random numbers are drawn from a key that contains the run's seed and the step, so that a run can resume.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import v2

from semantic_aug._random import seeded
from semantic_aug.data.orders import BalancedOrder

from .context import Change, Context, Key, Mix, Prepare
from .mixing import paste, remix
from .randaugment import MAGNITUDE, randaugment, trivialaugment
from .semantic import latent_smote, semantic


@dataclass(frozen=True)
class Part:
    """One part of an arm.

    Attributes:
        summary: a description for --help.
        settings: the settings of this part and their defaults. None means the value that the checkpoint recommends.
        change, mix: functions that make the change or the mix of a run. None if the part has none.
        uses_checkpoint: whether the part needs a checkpoint.
    """

    summary: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    change: Callable[[Context], Change] | None = None
    mix: Callable[[Context], Mix] | None = None
    uses_checkpoint: bool = False


@dataclass(frozen=True)
class Arm:
    """The parts of each view. An arm has one view, or two views whose features are tied."""

    name: str
    views: tuple[tuple[Part, ...], ...]

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The parts of all views."""
        return tuple(part for view in self.views for part in view)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of all parts. A part that is in both views has the same settings in both."""
        tie = {"tie": 1.0} if len(self.views) > 1 else {}
        return {name: value for part in self.parts for name, value in part.settings.items()} | tie

    @property
    def augments(self) -> bool:
        """Whether the arm changes images, and so can stop doing so in its last epochs."""
        return any(part.change or part.mix for part in self.parts)

    @property
    def uses_checkpoint(self) -> bool:
        """Whether any part needs a checkpoint."""
        return any(part.uses_checkpoint for part in self.parts)

    def changes(self, context: Context) -> list[list[tuple[Part, Change]]]:
        """The parts of each view that change single images, in the order in which they are applied."""
        return [[(part, part.change(context)) for part in view if part.change] for view in self.views]

    def mix(self, context: Context) -> Mix | None:
        """The mix of the arm, or None."""
        return next((part.mix(context) for part in self.parts if part.mix), None)


def parse_arm(name: str) -> Arm:
    """Return the arm with this name. Raises ValueError for an unknown part or for parts that cannot be combined."""
    views = []
    for view in name.split("/"):
        words = view.split("+") if view != "none" else []
        for word in words:
            if word not in PARTS:
                raise ValueError(f"unknown arm {name!r}: no part is named {word!r}; known: none, {', '.join(PARTS)}")
        views.append(tuple(PARTS[word] for word in words))
    arm = Arm(name, tuple(views))
    if len(views) > 2:
        raise ValueError(f"arm {name!r} has {len(views)} views; at most two are possible")
    mixes = [part for part in arm.parts if part.mix]
    if len(mixes) > 1 or (mixes and (len(views) > 1 or arm.parts[-1] is not mixes[0])):
        raise ValueError(
            f"arm {name!r}: a part that mixes images ({', '.join(MIXES)}) must come last, and an arm with such a part "
            f"can have only one of them and only one view"
        )
    if PARTS["isda"] in arm.parts and (mixes or len(views) > 1):
        raise ValueError(f"arm {name!r}: isda needs labels that are not mixed, and a single view")
    return arm


def change_randomly(context: Context) -> Change:
    """Make the change of RandAugment."""
    magnitude = context.settings["magnitude"]
    return lambda images, labels, indices, key: randaugment(images, seeded("randaugment", *key), magnitude)


def change_trivially(context: Context) -> Change:
    """Make the change of TrivialAugment."""
    return lambda images, labels, indices, key: trivialaugment(images, seeded("trivialaugment", *key))


def mix_by(transform: Callable[..., Any], name: str) -> Callable[[Context], Mix]:
    """Make the mix of torchvision's MixUp or CutMix. Both draw from the global generator."""

    def make(context: Context) -> Mix:
        mixing = transform(alpha=context.settings["alpha"], num_classes=len(context.data.classes))

        def mix(images: Tensor, labels: Tensor, key: Key, prepare: Prepare) -> tuple[Tensor, Tensor]:
            torch.manual_seed(seeded(name, *key).initial_seed())
            return mixing(images, labels)

        return mix

    return make


def mix_remix(context: Context) -> Mix:
    """Make the mix of ReMix, with one lambda and one permutation per batch."""
    counts = torch.tensor(context.data.counts(), device=context.device)
    alpha = context.settings["alpha"]

    def mix(images: Tensor, labels: Tensor, key: Key, prepare: Prepare) -> tuple[Tensor, Tensor]:
        torch.manual_seed(seeded("remix", *key).initial_seed())
        share = float(torch.distributions.Beta(alpha, alpha).sample())
        partner = torch.randperm(len(images)).to(context.device, non_blocking=True)
        return remix(images, labels, partner, share, counts)

    return mix


def mix_cmo(context: Context) -> Mix:
    """Make the mix of CMO, context-rich minority oversampling (Park et al. 2022, arXiv 2112.00412).

    With probability ``cmo_p`` a batch is the background of CutMix. The foreground images are drawn with every class
    equally often, which is the paper's weighting by 1 / n. The paper does not use CMO in the first three and the last
    three of 200 epochs. Here ``clean_epochs=3`` leaves it out at the end.
    """
    data, classes = context.data, len(context.data.classes)
    # A separate stream, so that the backgrounds are the same images that every other arm sees.
    foregrounds = BalancedOrder(data.labels, seeded("foregrounds", context.seed).initial_seed() % 2**31)

    def mix(images: Tensor, labels: Tensor, key: Key, prepare: Prepare) -> tuple[Tensor, Tensor]:
        torch.manual_seed(seeded("cmo", *key).initial_seed())
        soft = torch.nn.functional.one_hot(labels, classes).float()
        if torch.rand(()) >= context.settings["cmo_p"]:
            return images, soft
        alpha, (_, step, *_) = context.settings["alpha"], key
        share = float(torch.distributions.Beta(alpha, alpha).sample())
        centre = torch.rand(2).tolist()
        indices = foregrounds(int(step) * len(images), len(images))
        mixed, left = paste(images, prepare(indices, (*key, "foreground")), share, (centre[0], centre[1]))
        other = torch.nn.functional.one_hot(data.labels[indices].to(labels.device), classes).float()
        return mixed, left * soft + (1 - left) * other

    return mix


OURS = {"perturbation": "covariance", "mode": None, "strength": None, "p": None, "shrinkage": None, "redraw": 4}


def _ours(summary: str, **settings: Any) -> Part:
    return Part(summary, OURS | settings, change=semantic, uses_checkpoint=True)


PARTS: dict[str, Part] = {
    "ours": _ours("SemanticAugmentBatch: z' ~ N(mu, s Sigma_c)"),
    "isotropic": _ours("ours with z' ~ N(mu, s tr(Sigma_c) / d I)", perturbation="isotropic"),
    "pooled": _ours("ours with one Sigma for all classes", perturbation="pooled"),
    "class-gaussian": _ours(
        "z' ~ N(mean_c, Sigma_c), as in BAGAN and IDA-GAN", perturbation="class-gaussian", mode="decode", strength=1.0
    ),
    "smote": Part(
        "z' between two neighbours of the same class",
        {"mode": "decode", "p": None, "neighbours": 5},
        change=latent_smote,
        uses_checkpoint=True,
    ),
    "randaugment": Part("RandAugment with two operations", {"magnitude": MAGNITUDE}, change=change_randomly),
    "trivialaugment": Part("TrivialAugment with its wide space", change=change_trivially),
    "mixup": Part("MixUp", {"alpha": 0.2}, mix=mix_by(v2.MixUp, "mixup")),
    "cutmix": Part("CutMix", {"alpha": 1.0}, mix=mix_by(v2.CutMix, "cutmix")),
    "remix": Part("ReMix", {"alpha": 1.0}, mix=mix_remix),
    "cmo": Part("CMO: CutMix of rare images onto common ones", {"alpha": 1.0, "cmo_p": 0.5}, mix=mix_cmo),
    "isda": Part("implicit semantic data augmentation of features", {"lambda0": 0.5}),
}
MIXES = [name for name, part in PARTS.items() if part.mix]
