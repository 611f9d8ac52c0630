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


@pytest.mark.parametrize("weight", [0.0, 0.3, 2.0])
def test_balanced_gradients_have_the_ratio_asked_for(weight):
    """Against the gradients of both losses taken separately, at the images and at a parameter before them."""
    parameter = torch.randn(4, 1, 8, 8, requires_grad=True)
    direction = torch.randn(4, 1, 8, 8)

    def losses_of(images):
        return images.square().mean(), 1000 * (images * direction).mean()

    wanted, pushed = (torch.autograd.grad(losses_of(parameter.sin())[i], parameter)[0] for i in (0, 1))
    at_images = parameter.detach().sin().requires_grad_()
    norms = [torch.autograd.grad(loss, at_images)[0].norm() for loss in losses_of(at_images)]
    images = parameter.sin()
    losses.balanced(images, *losses_of(images), weight).backward()
    assert_close(parameter.grad, wanted + weight * norms[0] / norms[1] * pushed)


def test_balanced_without_an_adversarial_gradient():
    images = torch.randn(2, 1, 8, 8, requires_grad=True)
    losses.balanced(images, images.square().sum(), 0 * images.sum(), 0.5).backward()
    assert_close(images.grad, 2 * images.detach())
