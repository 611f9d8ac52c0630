import pytest
import torch
from torch.testing import assert_close

from semantic_aug.perturb import PERTURBATIONS
from semantic_aug.statistics import POOLED

N = 20_000


@pytest.fixture(params=PERTURBATIONS)
def name(request):
    return request.param


@pytest.mark.parametrize("strength", [0.25, 1.0, 4.0])
@pytest.mark.parametrize("label", [0, 1, 2, POOLED])
def test_draws_have_covariance_s_sigma(artifact, name, strength, label):
    d = artifact.network.latent_dim
    mu, noise = torch.randn(1, d).expand(N, d), torch.randn(N, d)
    z = PERTURBATIONS[name](mu, torch.full((N,), label), noise, artifact.statistics, strength, "oas")
    found = torch.cov((z - mu).T, correction=0).double()
    expected = strength * artifact.statistics.covariance(POOLED if name == "pooled" else label)
    # The standard error of a variance from 20 000 draws is 1 % of it.
    assert (found - expected).abs().max() < 0.05 * expected.diagonal().max()
    assert (z - mu).mean(0).abs().max() < 0.05 * expected.diagonal().max().sqrt()


def test_contract(artifact, name):
    """Deterministic, no dependence on other rows, inputs untouched, strength 0 the identity."""
    d, n = artifact.network.latent_dim, 5
    mu, noise, labels = torch.randn(n, d), torch.randn(n, d), torch.tensor([0, 1, 2, POOLED, 1])
    strength = torch.tensor([0.1, 0.5, 1.0, 2.0, 0.0])
    before = (mu.clone(), noise.clone(), labels.clone(), strength.clone())
    f = PERTURBATIONS[name]
    z = f(mu, labels, noise, artifact.statistics, strength, "oas")
    assert z.shape == mu.shape
    for old, new in zip(before, (mu, noise, labels, strength), strict=True):
        assert torch.equal(old, new)
    order = torch.tensor([3, 0, 4, 1, 2])
    permuted = f(mu[order], labels[order], noise[order], artifact.statistics, strength[order], "oas")
    assert_close(permuted, z[order])
    one = f(mu[1:2], labels[1:2], noise[1:2], artifact.statistics, 0.5, "oas")
    assert_close(one, z[1:2])
    assert torch.equal(z[4], mu[4])
    assert f(mu[:0], labels[:0], noise[:0], artifact.statistics, 0.5, "oas").shape == (0, d)
