"""The settings that an artifact recommends for augmenting with it."""

from dataclasses import dataclass
from typing import Literal

from semantic_aug.model.statistics import Shrinkage, check_shrinkage

Mode = Literal["decode", "detail"]
MODES: tuple[Mode, ...] = ("decode", "detail")
MAX_STRENGTH = 1e6


@dataclass(frozen=True, kw_only=True)
class Recommended:
    """The settings that did best on validation data. The defaults apply until that has been measured.

    Raises ValueError for settings out of range.
    """

    mode: Mode = "detail"
    """"decode" (the paper's, x' = G(z')) or "detail" (x' = x + G(z') - G(mu))."""
    p: float = 0.5
    """Probability in [0, 1] of augmenting an image."""
    shrinkage: Shrinkage = "oas"
    """Shrinkage of the class covariances, as in ``ClassStatistics.covariance``."""
    strength: float = 0.35
    """Scale s >= 0 of the latent covariance (Eq. 4)."""

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"recommended mode must be one of {MODES}, got {self.mode!r:.80}")
        for name, value, highest in (("p", self.p, 1.0), ("strength", self.strength, MAX_STRENGTH)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= highest:
                raise ValueError(f"recommended {name} must be a number in [0, {highest:g}], got {value!r:.80}")
        check_shrinkage(self.shrinkage)
