import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence
from torch.testing import assert_close

from semantic_aug.trainer import losses


def test_kl_equals_torch_distributions():
    mu, logvar = torch.randn(5, 7), torch.randn(5, 7)
    expected = kl_divergence(Normal(mu, (logvar / 2).exp()), Normal(0.0, 1.0)).sum(1).mean()
    assert_close(losses.kl(mu, logvar), expected)
    assert losses.kl(torch.zeros(2, 3), torch.zeros(2, 3)) == 0


def test_l1():
    a, b = torch.rand(2, 1, 4, 4), torch.rand(2, 1, 4, 4)
    assert_close(losses.l1(a, b), torch.nn.functional.l1_loss(a, b))


def test_hinge_by_hand():
    real, fake = torch.tensor([2.0, 0.5, -1.0]), torch.tensor([-2.0, -0.5, 1.0])
    assert_close(losses.hinge_discriminator(real, fake), torch.tensor((0 + 0.5 + 2) / 3 + (0 + 0.5 + 2) / 3))
    assert losses.hinge_discriminator(torch.zeros(4), torch.zeros(4)) == 2
    assert_close(losses.hinge_generator(fake), torch.tensor(0.5))


@pytest.mark.parametrize(("progress", "expected"), [(0.0, 0.0), (0.5, 1e-4), (1.0, 2e-4)])
def test_kl_weight_rises_over_the_whole_training(progress, expected):
    assert losses.kl_weight(progress, 2e-4) == pytest.approx(expected)


@pytest.mark.parametrize(("progress", "expected"), [(0.0, 1.0), (0.6, 1.0), (0.8, 0.5), (1.0, 0.0)])
def test_learning_rate_falls_at_the_end(progress, expected):
    assert losses.learning_rate(progress, 1.0, 0.4) == pytest.approx(expected)
    assert losses.learning_rate(progress, 1.0, 0.0) == 1.0


def test_ema_decay_has_its_half_life():
    assert losses.ema_decay(10**6, 64, 6400) ** 100 == pytest.approx(0.5)
    assert losses.ema_decay(0, 64, 6400) == 0
    young = losses.ema_decay(2000, 64, 6400)
    assert young == pytest.approx(0.5 ** (64 / 100))
    assert math.isfinite(young)
