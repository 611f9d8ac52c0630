"""Semantic data augmentation for long-tailed classification: encode, perturb, decode (arXiv 2411.17254)."""

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
