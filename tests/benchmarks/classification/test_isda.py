import pytest
import torch
from torch.nn.functional import cross_entropy

from benchmarks.classification.isda import ISDA

K, A = 3, 5


@pytest.fixture
def batches():
    """Features and labels of three batches; class 2 is missing in the first."""
    torch.manual_seed(3)
    labels = [torch.tensor([0, 1, 1, 0, 0]), torch.tensor([2, 1, 2]), torch.tensor([0, 0, 2, 1])]
    return [(torch.randn(len(y), A) * (y[:, None] + 1) + y[:, None], y) for y in labels]


def test_running_moments_are_those_of_all_features_seen(batches):
    isda = ISDA(K, A, torch.device("cpu"))
    for features, labels in batches:
        isda.update(features, labels)
    features, labels = (torch.cat(part) for part in zip(*batches, strict=True))
    for label in range(K):
        members = features[labels == label].double()
        assert isda.count[label] == len(members)
        torch.testing.assert_close(isda.mean[label].double(), members.mean(0), rtol=0, atol=1e-5)
        expected = members.T.cov(correction=0)
        torch.testing.assert_close(isda.covariance[label].double(), expected, rtol=1e-5, atol=1e-5)


def test_one_update_is_the_formula(batches):
    isda = ISDA(K, A, torch.device("cpu"))
    isda.update(*batches[0])
    before = isda.covariance.clone(), isda.mean.clone(), isda.count.clone()
    features, labels = batches[1]
    isda.update(features, labels)
    for label in range(K):
        sigma, mu, n = (part[label] for part in before)
        part = features[labels == label]
        m = len(part)
        if m:
            mu_b = part.mean(0)
            sigma_b = sum(torch.outer(f - mu_b, f - mu_b) for f in part) / m
            sigma = (n * sigma + m * sigma_b) / (n + m) + n * m / (n + m) ** 2 * torch.outer(mu - mu_b, mu - mu_b)
        torch.testing.assert_close(isda.covariance[label], sigma)


def test_logits_written_out(batches):
    isda = ISDA(K, A, torch.device("cpu"))
    for features, labels in batches:
        isda.update(features, labels)
    features, labels = batches[2]
    head = torch.nn.Linear(A, K)
    with torch.no_grad():
        y, w, strength = head(features), head.weight, 0.7
        expected = y.clone()
        for i, label in enumerate(labels.tolist()):
            for j in range(K):
                apart = w[j] - w[label]
                expected[i, j] += strength / 2 * apart @ isda.covariance[label] @ apart
        torch.testing.assert_close(isda.logits(y, labels, w, strength), expected)


def test_it_bounds_the_loss_over_drawn_features(batches):
    # The bound is on the mean over f' ~ N(f, lambda Sigma_y): the reason for which the method exists.
    isda = ISDA(K, A, torch.device("cpu"))
    for features, labels in batches:
        isda.update(features, labels)
    features, labels = batches[2]
    weight, strength = torch.randn(K, A) / 2, 0.5
    factors = torch.linalg.cholesky(isda.covariance + 1e-6 * torch.eye(A))
    drawn = features + strength**0.5 * torch.einsum("nij,snj->sni", factors[labels], torch.randn(4000, 4, A))
    mean = cross_entropy((drawn @ weight.T).reshape(-1, K), labels.repeat(4000))
    bound = cross_entropy(isda.logits(features @ weight.T, labels, weight, strength), labels)
    assert cross_entropy(features @ weight.T, labels) < mean < bound


def test_gradients_reach_the_weight_alone(batches):
    isda = ISDA(K, A, torch.device("cpu"))
    features, labels = batches[0]
    features.requires_grad_()
    isda.update(features, labels)
    weight = torch.randn(K, A, requires_grad=True)
    isda.logits(torch.zeros(5, K), labels, weight, 1.0).sum().backward()
    assert weight.grad.abs().sum() > 0
    assert features.grad is None
