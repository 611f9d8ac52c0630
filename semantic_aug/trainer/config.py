"""All settings that change what a training run computes, in one flat dataclass."""

import math
from dataclasses import dataclass, field

from semantic_aug.model.networks import NetworkConfig

SMALL_DATA = 50_000  # with fewer images, a discriminator memorises them


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of a run. Raises ValueError for a value out of its range.

    The losses follow the paper's Eq. 2 and 3. The paper gives no values for their weights, so these are ours.
    """

    network: NetworkConfig
    """Sizes of the networks."""
    init: str = ""
    """``Artifact.fingerprint`` of the checkpoint that the run starts from, or empty to start at a PCA of the data."""
    images: int = 300_000
    """Length of the run and of every schedule, in training images seen, including repeats."""
    batch: int = 64
    """Images per step over all processes, a multiple of twice the number of processes times ``accumulate``."""
    accumulate: int = 1
    """Number of parts in which a step's batch is computed, one after the other, if it does not fit into memory."""
    learning_rate: float = 4e-4
    """Adam's learning rate for E, G and D. It falls linearly to 0 over the last ``decay`` of the run."""
    decay: float = 0.4
    """Fraction of the run over which the learning rate falls."""
    kl_weight: float = 5e-5
    """Maximum weight of the KL term (a sum over latent dimensions). It rises linearly from 0 over the whole run."""
    lpips_weight: float = 2.0
    """lambda_p of Eq. 3, relative to an L1 that is a mean over pixels in [-1, 1]."""
    lpips_net: str = "squeeze"
    """Trunk of LPIPS: "squeeze", "alex" or "vgg"."""
    lpips_every: int = 2
    """LPIPS is computed only for every ``lpips_every``-th image, because it is the most expensive term on a CPU."""
    adversarial_weight: float = 0.3
    """Norm of the gradient of G's hinge loss at the generated images, relative to that of the other losses there."""
    adversarial_start: float = 0.3
    """Fraction of the run after which D and its loss join."""
    class_weight: float = 0.05
    """Weight of the loss of the class head, a linear classifier of sampled latents that is dropped after training."""
    label_dropout: float = 0.2
    """Fraction of images whose label is hidden from a conditional G and D, so that G learns to decode without one."""
    classifier_epochs: int = 30
    """Epochs for training the classifier f. It sees at most three times as many images as the run itself."""
    feature_weight: float = 0.5
    """Weight of the distance between f's features of an image and of its reconstruction."""
    agreement_weight: float = 0.025
    """Weight of KL(f(x) || f(x')), the divergence between f's outputs for an image and for its reconstruction."""
    draw_start: float = 0.2
    """Fraction of the run after which draws from the class covariances (Eq. 4) join. With 1 they never do, and D sees
    samples from the prior."""
    draw_weight: float = 0.1
    """Weight of f's cross-entropy on draws."""
    diversity_weight: float = 0.1
    """Weight of the reward for a difference between two draws of an image."""
    diffaugment: bool | None = None
    """Differentiable augmentation of the images that D sees. None turns it on for fewer than 50 000 training images,
    where D would overfit."""
    gradient_clip: float = 5.0
    """Largest norm of E's gradient."""
    ema_images: float = 20_000
    """Half-life of the moving average of E's and G's weights, in images, but at most a twentieth of the images seen."""
    sampling: str = "natural"
    """Order of the training images: "natural" (each image once per epoch) or "balanced" (each class equally often)."""
    flip: bool = True
    """Mirror half of the training images."""
    held_out: float = 0.02
    """Fraction of DATA that is held out to measure reconstruction, if there is no validation data."""
    precision: str = "fp32"
    """"fp32", "bf16" or "fp16": the autocast type of the networks."""
    seed: int = 0
    """Seed of everything random: weights, order and noise."""
    log_images: int = 5_000
    """Images between two lines of losses."""
    snapshot_images: int = 25_000
    """Images between two snapshots (state and picture)."""
    data: dict[str, int] = field(default_factory=dict)
    """Training images per class, so that a run is not continued on other data."""

    def __post_init__(self) -> None:
        positive = (
            "images",
            "batch",
            "accumulate",
            "learning_rate",
            "lpips_every",
            "gradient_clip",
            "classifier_epochs",
            "ema_images",
            "log_images",
            "snapshot_images",
        )
        weights = (
            "kl_weight",
            "lpips_weight",
            "adversarial_weight",
            "class_weight",
            "feature_weight",
            "agreement_weight",
            "draw_weight",
            "diversity_weight",
            "seed",
        )
        fractions = ("decay", "adversarial_start", "label_dropout", "draw_start", "held_out")
        for names, valid, expected in (
            (positive, lambda v: v > 0, "above 0"),
            (weights, lambda v: v >= 0, "at least 0"),
            (fractions, lambda v: 0 <= v <= 1, "in [0, 1]"),
        ):
            for name in names:
                value = getattr(self, name)
                if not (math.isfinite(value) and valid(value)):
                    raise ValueError(f"{name} must be {expected}, got {value}")
        choices = {
            "lpips_net": ("squeeze", "alex", "vgg"),
            "precision": ("fp32", "bf16", "fp16"),
            "sampling": ("natural", "balanced"),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        self.share(1)
        if self.held_out == 1:
            raise ValueError("held_out must be below 1: nothing would be left to train on")

    def share(self, processes: int) -> int:
        """Number of images that each process computes at once. Raises ValueError if the batch is not divisible."""
        parts = processes * self.accumulate
        group = 4 if self.uses_draws else 2
        if self.batch % (group * parts):
            raise ValueError(
                f"batch must be a multiple of {group * parts} ({group} x {processes} processes x accumulate "
                f"{self.accumulate}), got {self.batch}"
            )
        return self.batch // parts

    @property
    def uses_draws(self) -> bool:
        """Whether draws from the class covariances join at any time."""
        return self.draw_start < 1

    @property
    def settled(self) -> float:
        """Fraction of the run after which all losses have joined and the learning rate falls."""
        joined = self.adversarial_start * (self.adversarial_weight > 0), self.draw_start * self.uses_draws
        return max(*joined, 1 - (self.decay or 1))

    @property
    def uses_classifier(self) -> bool:
        """Whether a loss uses the classifier f, which needs at least two classes."""
        asked = self.feature_weight + self.agreement_weight + self.draw_weight * self.uses_draws
        return asked > 0 and len(self.data) > 1

    @property
    def uses_class_head(self) -> bool:
        """Whether the latents are classified, which needs at least two classes."""
        return self.class_weight > 0 and len(self.data) > 1

    @property
    def uses_diffaugment(self) -> bool:
        """The value of ``diffaugment``, with None resolved."""
        return self.diffaugment if self.diffaugment is not None else sum(self.data.values()) < SMALL_DATA


def differences(found: dict, expected: dict, prefix: str = "") -> list[str]:
    """The fields in which two configurations (nested dictionaries) differ, as "name: found, expected"."""
    lines = []
    for name in sorted(set(found) | set(expected)):
        a, b = found.get(name), expected.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            lines += differences(a, b, f"{prefix}{name}.")
        elif a != b:
            lines.append(f"{prefix}{name}: {a} there, {b} here")
    return lines
