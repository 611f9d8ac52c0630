"""Public objects give the same results in every state of torch around them, and can be used outside it afterwards."""

import pickle
from contextlib import ExitStack, contextmanager

import pytest
import torch
from torch.testing import assert_close
from torch.utils.data import DataLoader, TensorDataset

from semantic_aug import (
    Artifact,
    ClassBalancedSampler,
    ClassStatistics,
    LatentCache,
    LatentModel,
    SemanticAugment,
    SemanticAugmentBatch,
    SemanticLoader,
    functional,
)
from tests.conftest import CLASSES, build_artifact


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


STATES = {
    "float64": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "default device": lambda: torch.device("meta"),  # as a GPU set by torch.set_default_device
    "inference": torch.inference_mode,
    "no grad": torch.no_grad,
    "grad": torch.enable_grad,
    "deterministic": deterministic,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
}
COMBINATIONS = [*([name] for name in STATES), ["float64", "default device", "inference", "autocast", "deterministic"]]


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A saved artifact, images and their labels, a folder to write to, all made in no particular state."""
    directory = tmp_path_factory.mktemp("states")
    saved = build_artifact().save(directory / "saved", half=True)
    generator = torch.Generator().manual_seed(0)
    return saved, torch.rand(8, 1, 32, 32, generator=generator), torch.arange(8) % 3, directory


def generator():
    return torch.Generator().manual_seed(3)


def use_transform(kind, saved, images, labels):
    augment = kind(1.0, [0.5, 1.0, 0.2], checkpoint=saved, classes=CLASSES, generator=generator())
    augment = pickle.loads(pickle.dumps(augment))
    yield augment(images, labels)[0]
    augment.enabled = False
    yield augment(images, labels)[0]
    augment.enabled = True
    yield augment(images, labels)[0]


def use_loader(saved, images, labels):
    sampler = ClassBalancedSampler(labels)
    augment = SemanticAugmentBatch(1.0, checkpoint=saved, classes=CLASSES, generator=generator())
    loader = SemanticLoader(DataLoader(TensorDataset(images, labels), sampler=sampler), augment, device="cpu")
    yield torch.tensor(list(sampler), device="cpu")
    for _ in range(2):
        yield torch.cat([augment(images[i : i + 2], labels[i : i + 2])[0] for i in (0, 2)])
    assert loader.augment is augment


def use_cache(saved, images, labels, directory):
    artifact, path = Artifact.from_pretrained(saved), directory / "latents.safetensors"
    data = TensorDataset(images, labels)
    cache = LatentCache.build(path, artifact, data, reconstructions=True, overwrite=True)
    yield cache[:]["mu"]
    yield LatentCache.load(path, artifact, data)[:]["reconstruction"].float()
    yield LatentCache.load(path, artifact, data)[[1]]["mu"]


def use_artifact(saved, images, labels, directory):
    artifact = Artifact.from_pretrained(saved)
    yield artifact.encode(images)
    yield artifact.decode(artifact.encode(images))
    yield artifact.sample(1, 2, generator())
    artifact.statistics.update(artifact.encode(images), labels)
    yield artifact.statistics.factors()
    yield Artifact.from_pretrained(artifact.save(directory / "again", overwrite=True)).encode(images)


def use_statistics(images, labels):
    statistics = ClassStatistics(3, 32)
    for _ in range(3):
        statistics.update(images[:, 0, 0], labels)
        yield statistics.factors("pooled")
        yield statistics.directions(1)[0]


def use_model(saved, images, labels):
    model = LatentModel.of(Artifact.from_pretrained(saved))
    noise = torch.randn(8, model.network.latent_dim, generator=generator(), dtype=torch.float32, device="cpu")
    for perturbation in ("covariance", "interpolate", "isotropic"):
        yield functional.semantic_augment_image(images, noise, model, labels, perturbation=perturbation)


USES = {
    "per sample": lambda saved, images, labels, _: use_transform(SemanticAugment, saved, images, labels),
    "per batch": lambda saved, images, labels, _: use_transform(SemanticAugmentBatch, saved, images, labels),
    "loader": lambda saved, images, labels, _: use_loader(saved, images, labels),
    "cache": use_cache,
    "artifact": use_artifact,
    "statistics": lambda saved, images, labels, _: use_statistics(images, labels),
    "model": lambda saved, images, labels, _: use_model(saved, images, labels),
}


@pytest.mark.parametrize("states", COMBINATIONS, ids=" and ".join)
@pytest.mark.parametrize("use", USES)
def test_the_state_around_an_object_changes_nothing(use, states, given):
    expected = list(USES[use](*given))
    with ExitStack() as stack:
        for state in states:
            stack.enter_context(STATES[state]())
        inside = USES[use](*given)
        found = [next(inside)]
        if use == "cache" or use == "artifact":
            found.append(next(inside))
    found += list(inside)  # what was made in the state is used outside it
    with ExitStack() as stack:
        for state in states:
            stack.enter_context(STATES[state]())
        whole = list(USES[use](*given))
    for results in (found, whole):
        for one, other in zip(results, expected, strict=True):
            assert one.dtype == other.dtype
            assert_close(one, other)
