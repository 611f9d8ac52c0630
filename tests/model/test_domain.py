import numpy as np
import pytest
import torch
from scipy.stats import chi2

from semantic_aug import Artifact
from semantic_aug.model.domain import FAR, IMAGES, Domain, distance
from semantic_aug.model.statistics import ClassStatistics
from tests.conftest import build_artifact

D = 6


def build(n=3000, classes=2):
    """Statistics of one or two classes with means of their own, and what they were taken of."""
    generator = torch.Generator().manual_seed(0)
    labels = (torch.rand(n, generator=generator) < 0.3).long() * (classes - 1)
    mu = torch.randn(n, D, generator=generator).double() @ torch.randn(D, D, generator=generator).double()
    mu += labels[:, None] * torch.tensor([3.0, 0, 0, 0, 0, 1.0])
    statistics = ClassStatistics(classes, D)
    statistics.update(mu, labels)
    return statistics, mu, labels


def test_balanced_statistics_are_those_of_numpy():
    statistics, mu, labels = build()
    mean, within, between = statistics.balanced()
    parts = [mu[labels == label].numpy() for label in range(2)]
    means = np.stack([part.mean(0) for part in parts])
    np.testing.assert_allclose(mean, means.mean(0))
    np.testing.assert_allclose(between, np.cov(means.T, bias=True))
    np.testing.assert_allclose(within, np.mean([np.cov(part.T, bias=True) for part in parts], axis=0), atol=0.02)


@pytest.mark.parametrize("classes", [[0], [1], [0, 1]])
def test_distance_of_any_training_images_is_distributed_as_chi_squared(classes):
    statistics, mu, labels = build(12_000)
    chosen = mu[torch.isin(labels, torch.tensor(classes))]
    found = [distance(part, *statistics.balanced()) * D for part in chosen.split(30)[:-1]]
    # The direction in which the classes differ counts little.
    assert D - 1 < np.mean(found) * 1.1 < 1.2 * D
    assert np.quantile(found, 0.9) == pytest.approx(chi2(D - 0.5).ppf(0.9), rel=0.15)


def test_distance_is_hotellings_if_there_is_one_class():
    statistics, mu, _ = build(classes=1)
    mean, within, between = statistics.balanced()
    assert not between.any()
    away = (mu[:50] + 1).mean(0) - mean
    assert distance(mu[:50] + 1, mean, within, between) == pytest.approx(float(50 * away @ within.inverse() @ away / D))


def test_the_same_image_again_tells_nothing_new():
    statistics, mu, _ = build()
    assert distance(mu[:1].expand(64, -1), *statistics.balanced()) == pytest.approx(
        distance(mu[:1], *statistics.balanced())
    )
    assert distance(mu[:8].repeat(5, 1), *statistics.balanced()) == pytest.approx(
        distance(mu[:8], *statistics.balanced())
    )


def looked_at(images, artifact):
    domain = Domain(artifact)
    for start in range(0, IMAGES, 30):
        domain.look(images[start : start + 30][: domain.missing], artifact)
    assert domain.missing == 0
    return domain.complaint()


def test_complaints(monkeypatch):
    artifact, images = build_artifact(), torch.rand(IMAGES, 1, 32, 32) * 2 - 1
    artifact.reconstruction = {"l1_mean": 0.1, "l1_std": 0.1}
    assert "reconstruction comes no nearer than an even grey does (L1 0." in looked_at(images, artifact)
    assert "(L1 0." in looked_at(torch.full_like(images, 0.3), artifact)
    monkeypatch.setattr(Artifact, "decode", lambda self, mu: torch.zeros(len(mu), 1, 32, 32))
    assert "no nearer" in looked_at(images, artifact), "the grey of each image is the best one"
    monkeypatch.setattr(Artifact, "decode", lambda self, mu: images[: len(mu)])
    own = images[:30].repeat(3, 1, 1, 1)[:IMAGES]  # which that decode reconstructs
    artifact.statistics = ClassStatistics(3, 8)
    artifact.statistics.update(artifact.encode(own), torch.arange(IMAGES) % 3)
    assert looked_at(own, artifact) is None
    artifact.statistics.mean += 10
    found = distance(artifact.encode(own).double(), *artifact.statistics.balanced())
    assert found > FAR
    assert looked_at(own, artifact) == (
        "these images do not look like what the checkpoint was trained on: the latents lie far from those of its "
        f"training images (distance {found:.3g}, usual is 1)"
    )
    artifact.reconstruction = {}
    assert looked_at(own, artifact) is None, "never measured, it has no images of its own"
