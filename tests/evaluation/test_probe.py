import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from semantic_aug.evaluation.probe import linear_probe, logistic_regression


def latents(n, seed, d=6):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 3
    x = torch.randn(n, d, generator=generator) * torch.tensor([1.0, 30.0, 0.01, 2.0, 1.0, 1.0])
    x[:, 3] += 3 * (labels == 1)
    x[:, 0] += labels == 2
    return x, labels


def test_it_is_scikit_learns_logistic_regression():
    x, labels = latents(300, 0)
    scaler = StandardScaler().fit(x)
    model = LogisticRegression(tol=1e-8, max_iter=1000).fit(scaler.transform(x), labels)
    weight, bias = logistic_regression(torch.tensor(scaler.transform(x)), labels)
    torch.testing.assert_close(weight - weight.mean(0), torch.tensor(model.coef_).to(weight), atol=2e-3, rtol=0)
    torch.testing.assert_close(bias - bias.mean(), torch.tensor(model.intercept_).to(bias), atol=2e-3, rtol=0)
    held_out, true = latents(200, 1)
    found = linear_probe(x, labels, held_out, true)
    assert found.accuracy.value == pytest.approx(model.score(scaler.transform(held_out), true), abs=0.005)
    assert found.images == 300


def test_latents_without_the_class_are_read_at_chance():
    x, labels = latents(300, 0)
    held_out, true = latents(600, 1)
    found = linear_probe(x.flip(0).roll(1, 0), labels, held_out, true)
    assert abs(found.balanced.value - 1 / 3) < 4 * found.balanced.error


def test_a_dimension_that_never_changes_is_left_alone():
    x, labels = latents(90, 0)
    x[:, 1] = 7.0
    held_out, true = latents(60, 1)
    assert linear_probe(x, labels, held_out, true).accuracy.value > 0.5


def test_gradients_need_not_be_on():
    x, labels = latents(60, 0)
    with torch.no_grad():
        found = linear_probe(x, labels, x, labels)
    assert found.accuracy == linear_probe(x, labels, x, labels).accuracy
    assert found.accuracy.value > 0.5
