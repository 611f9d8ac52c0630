"""Every choice that changes what a training run computes, in one flat dataclass."""

import math
from dataclasses import dataclass, field

from semantic_aug.networks import NetworkConfig

SMALL_DATA = 50_000  # images under which a discriminator memorises its real images


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of a run. Raises ValueError for a value out of its range.

    Weights of the losses follow the paper's Eq. 2 and 3; the paper gives no values, these are ours.
    """

    network: NetworkConfig
    """Sizes of the networks."""
    init: str = ""
    """``Artifact.fingerprint`` of the checkpoint that the run starts from; empty: it starts at a PCA of the data."""
    images: int = 300_000
    """Horizon of every schedule and end of the run: training images seen, repeats counted."""
    batch: int = 64
    """Images per step over all processes, a multiple of twice the number of processes times ``accumulate``."""
    accumulate: int = 1
    """Parts that a step's batch is computed in, one after the other, where it does not fit into memory."""
    learning_rate: float = 4e-4
    """Adam's, for E, G and D; falls linearly to 0 over the last ``decay`` of the run."""
    decay: float = 0.4
    """Fraction of the run over which the learning rate falls."""
    kl_weight: float = 5e-5
    """Maximum weight of the KL term (a sum over latent dimensions); it rises linearly from 0 over the whole run."""
    lpips_weight: float = 2.0
    """lambda_p of Eq. 3, against an L1 that is a mean over pixels in [-1, 1]."""
    lpips_net: str = "squeeze"
    """Trunk of LPIPS: "squeeze", "alex" or "vgg"."""
    lpips_every: int = 2
    """LPIPS, the costliest term on a CPU, is taken on every so manieth image."""
    adversarial_weight: float = 0.3
    """Norm of the gradient of G's hinge loss at the generated images, relative to that of the other losses there."""
    adversarial_start: float = 0.3
    """Fraction of the run before D and its loss join."""
    class_weight: float = 0.05
    """Weight of the loss of a linear classifier of sampled latents, the class head; it is dropped after training."""
    label_dropout: float = 0.2
    """Share of the images whose label a conditional G and D do not get, so that G decodes without one too."""
    classifier_epochs: int = 12
    """Passes over the training images for the classifier f, at most as many images as the run itself sees."""
    feature_weight: float = 0.5
    """Weight of the distance between f's features of an image and of its reconstruction."""
    agreement_weight: float = 0.025
    """Weight of the divergence KL(f(x) || f(x')) of what f says of an image and of its reconstruction."""
    draw_start: float = 0.2
    """Fraction of the run before draws from the class covariances (Eq. 4) join; 1: never, D sees prior samples."""
    draw_weight: float = 0.1
    """Weight of f's cross-entropy on draws."""
    diversity_weight: float = 0.1
    """Weight of the reward for two draws of an image that differ."""
    diffaugment: bool | None = None
    """Differentiable augmentation of what D sees; None: under 50 000 training images, where D would overfit."""
    gradient_clip: float = 5.0
    """Largest norm of E's gradient."""
    ema_images: float = 20_000
    """Half-life of the moving average of E's and G's weights, in images; ramped up as a twentieth of images seen."""
    sampling: str = "natural"
    """Order of the training images: "natural", each once an epoch, or "balanced", each class equally often."""
    flip: bool = True
    """Mirror half of the training images."""
    held_out: float = 0.02
    """Fraction of DATA left out of training to measure reconstruction, where no validation data is given."""
    precision: str = "fp32"
    """"fp32", "bf16" or "fp16": the autocast type of the networks."""
    seed: int = 0
    """Of everything random: weights, order, noise."""
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
            "lpips_net": ("squeeze", "alex", "vgg"), "precision": ("fp32", "bf16", "fp16"),
            "sampling": ("natural", "balanced"),
        }  # fmt: skip
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")
        self.share(1)
        if self.held_out == 1:
            raise ValueError("held_out must be below 1: nothing would be left to train on")

    def share(self, processes: int) -> int:
        """Images that each process computes at once. Raises ValueError where the batch cannot be shared out evenly."""
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
        """Whether draws from the class covariances ever join."""
        return self.draw_start < 1

    @property
    def uses_classifier(self) -> bool:
        """Whether a loss asks the classifier f, which takes two classes or more."""
        asked = self.feature_weight + self.agreement_weight + self.draw_weight * self.uses_draws
        return asked > 0 and len(self.data) > 1

    @property
    def uses_class_head(self) -> bool:
        """Whether the latents are classified, which takes two classes or more."""
        return self.class_weight > 0 and len(self.data) > 1

    @property
    def uses_diffaugment(self) -> bool:
        """``diffaugment`` with its None decided."""
        return self.diffaugment if self.diffaugment is not None else sum(self.data.values()) < SMALL_DATA


def differences(found: dict, expected: dict, prefix: str = "") -> list[str]:
    """Fields in which two configurations (as nested dictionaries) differ: "name: found, expected"."""
    lines = []
    for name in sorted(set(found) | set(expected)):
        a, b = found.get(name), expected.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            lines += differences(a, b, f"{prefix}{name}.")
        elif a != b:
            lines.append(f"{prefix}{name}: {a} there, {b} here")
    return lines
