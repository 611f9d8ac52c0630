from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close

from semantic_aug import LatentModel
from semantic_aug.model.statistics import POOLED
from semantic_aug.perturb import NEEDS_LABELS, NEEDS_OTHERS, PERTURBATIONS

N = 20_000


def model_of(statistics, shrinkage="oas", rank=None):
    """What a perturbation reads of a ``LatentModel``."""
    return SimpleNamespace(means=statistics.mean.float(), factors=statistics.factors(shrinkage, rank))


GAUSSIAN = [name for name in PERTURBATIONS if name not in NEEDS_OTHERS]


def expected_moments(name, statistics, label, mu):
    """Mean and covariance at strength 1, from the statistics."""
    sigma = statistics.covariance(POOLED if name == "pooled" else label)
    mean = statistics.mean[label].float() if name == "class-gaussian" else mu
    if name == "diagonal":
        sigma = sigma.diagonal().diag()
    if name == "isotropic":
        sigma = torch.eye(len(sigma), dtype=sigma.dtype) * sigma.trace() / len(sigma)
    return mean, sigma


@pytest.mark.parametrize("name", GAUSSIAN)
@pytest.mark.parametrize("strength", [0.25, 1.0, 4.0])
@pytest.mark.parametrize("label", [0, 1, 2, POOLED])
def test_draws_have_covariance_s_sigma(artifact, name, strength, label):
    if label == POOLED and name in NEEDS_LABELS:
        pytest.skip("needs a label")
    mu, noise = torch.randn(1, artifact.network.latent_dim), torch.randn(N, artifact.network.latent_dim)
    labels = torch.full((N,), label)
    z = PERTURBATIONS[name](mu.expand(N, -1), labels, noise, model_of(artifact.statistics), strength)
    mean, sigma = expected_moments(name, artifact.statistics, label, mu)
    found = torch.cov(z.T, correction=0).double()
    # The standard error of a variance from 20 000 draws is 1 % of it.
    assert (found - strength * sigma).abs().max() < 0.05 * strength * sigma.diagonal().max()
    assert (z - mean).mean(0).abs().max() < 0.05 * (strength * sigma.diagonal().max()).sqrt()


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_contract(artifact, name):
    """Deterministic, per-row strength, inputs untouched, empty batches, permutation equivariance."""
    d, n = artifact.network.latent_dim, 5
    mu, noise, labels = torch.randn(n, d), torch.randn(n, d), torch.tensor([0, 1, 2, 1, 1])
    strength = torch.tensor([0.1, 0.5, 1.0, 2.0, 0.0])
    before = (mu.clone(), noise.clone(), labels.clone(), strength.clone())
    f = PERTURBATIONS[name]
    z = f(mu, labels, noise, model_of(artifact.statistics), strength)
    assert z.shape == mu.shape
    assert z.dtype == mu.dtype
    for old, new in zip(before, (mu, noise, labels, strength), strict=True):
        assert torch.equal(old, new)
    assert torch.equal(z, f(mu, labels, noise, model_of(artifact.statistics), strength))
    assert f(mu[:0], labels[:0], noise[:0], model_of(artifact.statistics), 0.5).shape == (0, d)
    if name != "class-gaussian":
        assert torch.equal(z[4], mu[4])
    else:
        assert_close(z[4], artifact.statistics.mean[1].float())
    if name not in NEEDS_OTHERS:
        order = torch.tensor([3, 0, 4, 1, 2])
        permuted = f(mu[order], labels[order], noise[order], model_of(artifact.statistics), strength[order])
        assert_close(permuted, z[order])
        assert_close(f(mu[1:2], labels[1:2], noise[1:2], model_of(artifact.statistics), 0.5), z[1:2])


@pytest.mark.parametrize("name", ["covariance", "pooled", "class-gaussian", "diagonal", "isotropic"])
@pytest.mark.parametrize("rank", [1, 3])
def test_rank_keeps_the_leading_directions(artifact, name, rank):
    d = artifact.network.latent_dim
    mu, labels = torch.zeros(N, d), torch.full((N,), 1)
    z = PERTURBATIONS[name](mu, labels, torch.randn(N, d), model_of(artifact.statistics, rank=rank), 1.0)
    values, vectors = torch.linalg.eigh(artifact.statistics.covariance(POOLED if name == "pooled" else 1))
    leading = vectors[:, -rank:] * values[-rank:] @ vectors[:, -rank:].T  # the best approximation of that rank
    if name == "diagonal":
        leading = leading.diagonal().diag()
    if name == "isotropic":
        leading = torch.eye(d, dtype=leading.dtype) * leading.trace() / d
    assert (torch.cov(z.T, correction=0).double() - leading).abs().max() < 0.05 * leading.diagonal().max()
    every = PERTURBATIONS[name](mu[:4], labels[:4], torch.ones(4, d), model_of(artifact.statistics, rank=d), 1.0)
    assert_close(every, PERTURBATIONS[name](mu[:4], labels[:4], torch.ones(4, d), model_of(artifact.statistics), 1.0))


@pytest.mark.parametrize("name", GAUSSIAN)
@pytest.mark.parametrize("scatter", [0.0, 1e-12, 1e6])
def test_degenerate_covariances(artifact, name, scatter):
    from semantic_aug.model.statistics import ClassStatistics

    statistics = ClassStatistics(1, 4)
    statistics.update(
        torch.tensor([[1.0, 2, 3, 4]] * 3) * torch.tensor([[1.0], [1], [1 + scatter]]), torch.zeros(3).long()
    )
    for shrinkage in ("oas", "pooled", None):
        z = PERTURBATIONS[name](
            torch.zeros(2, 4), torch.zeros(2).long(), torch.randn(2, 4), model_of(statistics, shrinkage), 10.0
        )
        assert z.isfinite().all()


def test_many_images_get_the_noise_of_one_at_a_time(artifact):
    """Of few images, the factor of each one is copied; of many, the noise of every class is computed."""
    model, n = LatentModel.of(artifact), 10
    mu, labels, noise = torch.randn(n, 8), torch.arange(n) % 4 - 1, torch.randn(n, 8)
    together = PERTURBATIONS["covariance"](mu, labels, noise, model, 0.5)
    for i in range(n):
        row = slice(i, i + 1)
        assert_close(together[row], PERTURBATIONS["covariance"](mu[row], labels[row], noise[row], model, 0.5))


def interpolate(mu, labels, noise, strength=1.0):
    return PERTURBATIONS["interpolate"](mu, labels, noise, None, strength)


def test_interpolation_stays_between_two_of_the_class():
    mu, labels = torch.randn(40, 2), torch.arange(40) % 4
    z = interpolate(mu, labels, torch.randn(40, 2))
    for i in range(40):
        others = [j for j in range(40) if labels[j] == labels[i] and j != i]
        offsets = [torch.stack([z[i] - mu[i], mu[j] - mu[i]]) for j in others]
        on_the_line = [
            abs(float(torch.linalg.det(pair))) < 1e-4 and 0 <= float(pair[0] @ pair[1]) <= float(pair[1] @ pair[1])
            for pair in offsets
        ]
        assert any(on_the_line)


def test_interpolation_chooses_every_partner_equally_and_u_uniformly():
    n = 2000
    mu = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [4.0, 0.0]])
    labels = torch.tensor([0, 0, 0, 0])
    z = torch.cat([interpolate(mu, labels, torch.randn(4, 2))[:1] for _ in range(n)])[:, 0]
    # With partners at 1, 2 and 4 and u uniform, the mean is (1 + 2 + 4) / 3 / 2.
    assert abs(float(z.mean()) - 7 / 6) < 0.1
    assert float(z.max()) > 3.8
    step = interpolate(mu, labels, torch.full((4, 2), 0.3), strength=0.25)
    assert_close(step - mu, (interpolate(mu, labels, torch.full((4, 2), 0.3)) - mu) * 0.25)


def test_interpolation_without_a_partner_stays():
    mu = torch.randn(3, 4)
    assert torch.equal(interpolate(mu, torch.tensor([0, 1, 2]), torch.randn(3, 4)), mu)


def pair_steps(mu, labels, strength=2.0, n=5000):
    labels = torch.tensor(labels)
    return torch.stack(
        [PERTURBATIONS["pairs"](mu, labels, torch.randn(*mu.shape), None, strength) - mu for _ in range(n)]
    )


def distances_to_differences(steps, mu, *groups):
    """Distances (n, m) of steps to the m differences of two images of a group."""
    differences = torch.stack([mu[j] - mu[k] for group in groups for j in group for k in group if j != k])
    return torch.cdist(steps, differences, compute_mode="donot_use_mm_for_euclid_dist")


def test_pairs_have_the_covariance_of_the_other_images_of_the_class():
    mu = torch.randn(7, 3)
    steps = pair_steps(mu, [0, 0, 0, 0, 1, 1, 2])[:, 0]
    expected = 2 * torch.cov(mu[1:4].T)  # of image 0: images 1 to 3
    found = torch.cov(steps.T, correction=0)
    assert (found - expected).abs().max() < 0.1 * expected.diagonal().max(), "7 standard errors"
    assert distances_to_differences(steps, mu, (1, 2, 3)).min(1).values.max() < 1e-5


def test_a_rare_class_takes_the_pairs_of_other_classes():
    mu = torch.randn(7, 3)
    steps = pair_steps(mu, [0, 0, 0, 0, 1, 1, 2], n=1000)
    for image, groups in ((4, [(0, 1, 2, 3)]), (6, [(0, 1, 2, 3), (4, 5)])):
        distances = distances_to_differences(steps[:, image], mu, *groups)
        assert distances.min(1).values.max() < 1e-5
        assert len(distances.argmin(1).unique()) == distances.shape[1], "every pair is taken"
    assert not pair_steps(mu[:3], [0, 0, 1], n=20)[:, :2].any(), "no other class has a pair"
