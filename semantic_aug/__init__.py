"""Semantic data augmentation for long-tailed classification: encode, perturb, decode (arXiv 2411.17254)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from semantic_aug import functional
    from semantic_aug.latents import LatentCache
    from semantic_aug.loader import SemanticLoader
    from semantic_aug.model.artifact import Artifact
    from semantic_aug.model.format import ArtifactError
    from semantic_aug.model.runtime import LatentModel
    from semantic_aug.model.statistics import ClassStatistics
    from semantic_aug.sampling import ClassBalancedSampler
    from semantic_aug.transform import SemanticAugment, SemanticAugmentBatch

__version__ = "0.1.0"

# The module of every public name. It is imported when the name is first used, so that `semantic-aug --help` and
# `--version` do not have to wait for torch.
_MODULES = {
    "Artifact": "semantic_aug.model.artifact",
    "ArtifactError": "semantic_aug.model.format",
    "ClassBalancedSampler": "semantic_aug.sampling",
    "ClassStatistics": "semantic_aug.model.statistics",
    "LatentCache": "semantic_aug.latents",
    "LatentModel": "semantic_aug.model.runtime",
    "SemanticAugment": "semantic_aug.transform",
    "SemanticAugmentBatch": "semantic_aug.transform",
    "SemanticLoader": "semantic_aug.loader",
    "functional": "semantic_aug.functional",
}

__all__ = [
    "Artifact",
    "ArtifactError",
    "ClassBalancedSampler",
    "ClassStatistics",
    "LatentCache",
    "LatentModel",
    "SemanticAugment",
    "SemanticAugmentBatch",
    "SemanticLoader",
    "__version__",
    "functional",
]

if not TYPE_CHECKING:  # type checkers read the imports above; if they saw this, they would accept any name

    def __getattr__(name: str) -> Any:
        """Import a public name when it is first used (PEP 562)."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = import_module(_MODULES[name])
        value = module if module.__name__ == f"{__name__}.{name}" else getattr(module, name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """All names in this module, including the public ones that have not been imported yet."""
    return sorted({*globals(), *__all__})
