"""A program that uses every public name, checked by ``mypy --strict`` as a user's would be. It is not run."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

import semantic_aug
from semantic_aug import (
    Artifact,
    ArtifactError,
    ClassBalancedSampler,
    ClassStatistics,
    LatentCache,
    LatentModel,
    SemanticAugment,
    SemanticAugmentBatch,
    SemanticLoader,
    functional,
)
from semantic_aug.data.dataset import cut_to_imbalance, hold_out, load_data
from semantic_aug.evaluation.estimate import Estimate
from semantic_aug.evaluation.plane import Plane, plane
from semantic_aug.evaluation.points import Point
from semantic_aug.evaluation.quality import quality
from semantic_aug.expansion.recipe import remake
from semantic_aug.model.hub import resolve
from semantic_aug.model.networks import NetworkConfig
from semantic_aug.model.recommended import Recommended
from semantic_aug.perturb import PERTURBATIONS
from semantic_aug.sampling import dataset_labels
from semantic_aug.trainer.config import TrainConfig
from semantic_aug.trainer.fit import fit_statistics
from semantic_aug.trainer.loop import train
from semantic_aug.transform import SemanticTransform

version: str = semantic_aug.__version__


def checkpoints() -> Artifact:
    try:
        artifact = Artifact.from_pretrained("user/repo", revision="main", local_files_only=True)
    except ArtifactError:
        artifact = Artifact.from_pretrained(Path("checkpoint"))
    recommended: Recommended = artifact.recommended
    network: NetworkConfig = artifact.network
    numbers: list[float] = [recommended.p, recommended.strength, network.latent_dim, artifact.reconstruction["l1_mean"]]
    images: Tensor = artifact.to("cpu").decode(artifact.encode(artifact.sample(0, len(numbers))), torch.tensor([0]))
    where: Path = artifact.save("copy", overwrite=True)
    pushed: str = artifact.push_to_hub("user/repo", private=True, tag="v1")
    print(where, pushed, images.shape, artifact.fingerprint, artifact.classes, resolve("fer2013-48"))
    return artifact.unconditional()


def transforms(artifact: Artifact, data: list[tuple[Tensor, int]]) -> None:
    augment = SemanticAugment(p=[0.5, 0.1], strength={"happy": 0.3}, mode="detail", classes=["happy", "sad"])
    image: Tensor = augment(torch.rand(1, 48, 48))
    batch = SemanticAugmentBatch(0.5, checkpoint=artifact, perturbation="pooled", dtype=torch.bfloat16, rank=8)
    images, labels = batch(image.expand(8, 1, 48, 48), torch.zeros(8, dtype=torch.long))
    both: list[SemanticTransform] = [augment, batch]
    for each in both:
        each.enabled = False
        each.classes = ["happy", "sad"]
    sampler = ClassBalancedSampler(dataset_labels(data), num_samples=10, seed=1)
    sampler.set_epoch(1)
    cache = LatentCache.build("latents", artifact, data, reconstructions=True)
    cache = LatentCache.load("latents", artifact, data)
    mu: Tensor = cache[[0, 1]]["mu"]
    loader: DataLoader[Any] = DataLoader(cache.dataset(data), batch_size=4, sampler=sampler)
    for images, labels in SemanticLoader(loader, batch, clean_epochs=1, epochs=2, latents=cache):
        print(images.shape, labels.tolist(), mu.shape)


def functions(artifact: Artifact) -> Tensor:
    model = LatentModel.of(artifact, dtype=torch.float16, rank=8)
    noise = functional.direction_noise(torch.tensor([1.0, 2.0]), model, label=0)
    statistics = ClassStatistics(num_classes=2, dim=8)
    statistics.update(torch.randn(4, 8), torch.tensor([0, 1, 0, 1]))
    covariance: Tensor = statistics.covariance(0, shrinkage="oas")
    variances, vectors = statistics.directions(0)
    print(covariance.shape, variances.shape, vectors.shape, list(PERTURBATIONS))
    return functional.semantic_augment_image(torch.rand(1, 48, 48), noise, model, 0, strength=0.3, mode="decode")


def training() -> None:
    everything = cut_to_imbalance(load_data("faces/train", 1, 48), 10)
    rest, held_out = hold_out(everything, 0.1, seed=0)
    found: Artifact | None = train(
        TrainConfig(network=NetworkConfig(image_size=48, channels=1), images=100), rest, held_out, "run", minutes=1.0
    )
    if found is not None:
        found.statistics = fit_statistics(found.encoder, everything)
        figures: dict[str, Any] = quality(found, held_out, strengths=(0.1,), advance=print)
        print(figures, remake({"source": "a.png"}, "expanded", found))


def measuring(found: Plane) -> list[float | None]:
    estimates: list[Estimate] = [each.diversity for each in found.measured.values()]
    point = Point("detail", "covariance", 0.35)
    print(point, plane, found.to_json())
    return [each.error for each in estimates]


def wrong(artifact: Artifact) -> None:
    """What a type checker must find. With --strict, an ignore that is not needed is an error."""
    SemanticAugment("half")  # type: ignore[arg-type]
    SemanticAugment(mode="sharp")  # type: ignore[arg-type]
    SemanticAugmentBatch(clases=["happy"])  # type: ignore[call-arg]
    artifact.decode("happy")  # type: ignore[arg-type]
    artifact.sampel(0, 1)  # type: ignore[attr-defined]
    print(semantic_aug.SemanticAugmentor)  # type: ignore[attr-defined]
