import math

import pytest
import torch
from torch.distributions import Categorical, Normal, kl_divergence
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


def test_losses_that_share_a_part_of_the_way_to_the_images():
    images = torch.randn(2, 1, 8, 8, requires_grad=True)
    shared = images.clamp(-1, 1).sin()  # which keeps tensors for its backward
    losses.balanced(images, shared.square().sum(), shared.sum(), 0.5).backward()
    assert images.grad.isfinite().all()


# --- The class -----------------------------------------------------------------------------------------------------


def test_balanced_softmax_by_hand():
    logits, labels, counts = torch.randn(5, 3), torch.tensor([0, 1, 2, 2, 0]), torch.tensor([90.0, 9.0, 1.0])
    weighted = counts * logits.exp()
    expected = -(weighted[torch.arange(5), labels] / weighted.sum(1)).log().mean()
    assert_close(losses.balanced_softmax(logits, labels, (counts / counts.sum()).log()), expected)


def test_balanced_softmax_of_a_class_without_images():
    logits = torch.randn(2, 3, requires_grad=True)
    loss = losses.balanced_softmax(logits, torch.tensor([0, 1]), torch.tensor([0.5, 0.5, 0.0]).log())
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


def test_feature_distance_is_that_of_lpips_without_weights():
    """Against lpips's own functions, on maps of several sizes."""
    import lpips

    shapes = ((3, 8, 6, 6), (3, 4, 3, 3))
    real, fake = ([torch.randn(shape) for shape in shapes] for _ in range(2))
    unit = lpips.normalize_tensor
    expected = [
        lpips.spatial_average((unit(a) - unit(b)).square().sum(1, keepdim=True)).mean()
        for a, b in zip(real, fake, strict=True)
    ]
    assert_close(losses.feature_distance(real, fake), torch.stack(expected).mean())
    assert losses.feature_distance(real, real) == 0


def test_feature_distance_of_dead_features_has_a_finite_gradient():
    fake = torch.zeros(2, 4, 3, 3, requires_grad=True)
    losses.feature_distance([torch.randn(2, 4, 3, 3)], [fake]).backward()
    assert fake.grad.isfinite().all()


def test_class_divergence_equals_torch_distributions():
    real, fake = torch.randn(6, 4), torch.randn(6, 4)
    expected = kl_divergence(Categorical(logits=real), Categorical(logits=fake)).mean()
    assert_close(losses.class_divergence(real, fake), expected)


def test_draw_cross_entropy_by_hand():
    logits, real, labels = torch.randn(4, 3), torch.randn(4, 3), torch.tensor([2, 0, 1, 1])
    by_label = torch.nn.functional.cross_entropy(logits, labels)
    by_image = -(real.softmax(1) * logits.log_softmax(1)).sum(1).mean()
    assert_close(losses.draw_cross_entropy(logits, real, labels), (by_label + by_image) / 2)


def test_diversity_by_hand_and_capped():
    x1 = torch.zeros(3, 1, 2, 2)
    x2 = torch.tensor([0.0, 1.0, 4.0])[:, None, None, None].expand(3, 1, 2, 2)
    z1, z2 = torch.zeros(3, 5), torch.full((3, 5), 2.0)
    ratio = losses.change_ratio((x1, x2), (z1, z2))
    assert_close(ratio, torch.tensor([0.0, 0.5, 2.0]))
    assert_close(losses.diversity(ratio, torch.ones(3)), torch.tensor((0 + 0.5 + 1) / 3))
    assert losses.change_ratio((x1, x2), (z1, z1)).isfinite().all(), "two draws of strength 0"


def test_diversity_pays_for_change_up_to_the_cap():
    drawn, real = torch.tensor([0.5, 2.0], requires_grad=True), torch.ones(2, requires_grad=True)
    losses.diversity(drawn, real).backward()
    assert_close(drawn.grad, torch.tensor([0.5, 0.0]))
    assert real.grad is None
