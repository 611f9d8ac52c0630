import pytest
import torch
from torch.testing import assert_close

from semantic_aug.model.statistics import POOLED, ClassStatistics
from semantic_aug.trainer.running import RunningStatistics

D = 6


def latents(n=300, k=3):
    mix = torch.randn(D, D)
    return torch.randn(n, D) @ mix + 0.5, torch.randint(0, k, (n,))


def test_without_decay_they_are_the_artifacts_statistics():
    mu, labels = latents()
    running, expected = RunningStatistics(3, D), ClassStatistics(3, D)
    expected.update(mu, labels)
    for part in range(0, 300, 50):
        running.update(mu[part : part + 50], labels[part : part + 50], decay=1.0)
    found = running.covariance(torch.tensor([2, 0, 1, 0]))
    for covariance, label in zip(found, (2, 0, 1, 0), strict=True):
        assert_close(covariance.double(), expected.covariance(label, "pooled"), rtol=1e-4, atol=1e-4)


def test_a_class_that_was_not_seen_has_the_pooled_covariance():
    mu, labels = latents(k=2)
    running, expected = RunningStatistics(3, D), ClassStatistics(3, D)
    running.update(mu, labels, decay=0.5)
    expected.update(mu, labels)
    assert_close(running.covariance(torch.tensor([2]))[0].double(), expected.covariance(POOLED), rtol=1e-4, atol=1e-4)


def test_older_latents_fade():
    """Weights 1 and 1/4 of two batches, against the weighted covariance by numpy."""
    import numpy as np

    old, new = latents(40, 1)[0], latents(40, 1)[0]
    running, zeros = RunningStatistics(1, D), torch.zeros(40, dtype=torch.int64)
    running.update(old, zeros, decay=0.25)
    running.update(new, zeros, decay=0.25)
    weights = np.repeat([0.25, 1.0], 40)
    expected = np.cov(torch.cat([old, new]).numpy().T, aweights=weights, ddof=0)
    assert_close(running.covariance(zeros[:1])[0], torch.from_numpy(expected).float(), rtol=1e-4, atol=1e-4)
    assert running.count.item() == 50


def test_steps_have_the_covariance_of_their_class():
    mu, labels = latents()
    running = RunningStatistics(3, D)
    running.update(mu, labels, decay=1.0)
    chosen = torch.tensor([2, 0])
    step = running.step(chosen, torch.randn(2, 200_000, D))
    assert step.shape == (2, 200_000, D)
    for found, covariance in zip(step, running.covariance(chosen), strict=True):
        assert_close(found.T.cov(), covariance, rtol=0.05, atol=0.05 * float(covariance.diagonal().max()))


def test_steps_of_many_images_are_those_of_one_at_a_time():
    mu, labels = latents()
    running = RunningStatistics(3, D)
    running.update(mu, labels, decay=1.0)
    chosen, noise = torch.tensor([2, 0, 2, 1, 1]), torch.randn(5, 2, D)
    alone = [running.step(chosen[i : i + 1], noise[i : i + 1]) for i in range(5)]
    assert_close(running.step(chosen, noise), torch.cat(alone))


@pytest.mark.parametrize("n", [0, 1, 3])
def test_few_images_and_latents_that_are_all_alike(n):
    running = RunningStatistics(2, D)
    running.update(torch.ones(n, D), torch.zeros(n, dtype=torch.int64), decay=0.9)
    step = running.step(torch.tensor([0, 1]), torch.randn(2, 4, D))
    assert step.isfinite().all()
    assert step.abs().max() < 0.1
