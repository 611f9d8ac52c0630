"""Semantic data augmentation for long-tailed classification: encode, perturb, decode (arXiv 2411.17254)."""

from semantic_aug import functional
from semantic_aug.batch import SemanticAugmentBatch
from semantic_aug.loader import SemanticLoader
from semantic_aug.model.artifact import Artifact, ArtifactError
from semantic_aug.model.statistics import ClassStatistics
from semantic_aug.sampling import ClassBalancedSampler
from semantic_aug.transform import SemanticAugment

__version__ = "0.1.0"

__all__ = [
    "Artifact",
    "ArtifactError",
    "ClassBalancedSampler",
    "ClassStatistics",
    "SemanticAugment",
    "SemanticAugmentBatch",
    "SemanticLoader",
    "__version__",
    "functional",
]
