"""The losses of the VAE-GAN and their schedules: pure functions."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import relu

SCALE = 2.0**12  # a power of two changes no digits, and keeps float16 gradients of single pixels above 0


def kl(mu: Tensor, logvar: Tensor) -> Tensor:
    """Eq. 2: KL(N(mu, var) || N(0, I)), summed over latent dimensions, averaged over the batch; (N, d) x 2 => ()."""
    return 0.5 * (mu.square() + logvar.exp() - logvar - 1).sum(dim=1).mean()


def l1(images: Tensor, reconstructions: Tensor) -> Tensor:
    """Eq. 3, first term: mean absolute difference over batch, channels and pixels."""
    return (images - reconstructions).abs().mean()


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """BigGAN's hinge loss of D on its scores of real and of generated images, (N,) each; 2 where D cannot tell."""
    return relu(1 - real).mean() + relu(1 + fake).mean()


def hinge_generator(fake: Tensor) -> Tensor:
    """BigGAN's hinge loss of G on D's scores of generated images (N,)."""
    return -fake.mean()


def balanced(
    images: Tensor,
    reconstruction: Tensor,
    adversarial: Tensor,
    weight: float,
    total: Callable[[Tensor], Tensor] = lambda values: values,
) -> Tensor:
    """A stand-in for reconstruction + w x adversarial, w such that the gradients' norms have the ratio ``weight``.

    VQGAN's adaptive weight (Esser et al. 2021, arXiv 2012.09841, Eq. 7), but with the gradients taken at the generated
    ``images`` (N, C, S, S) instead of G's last layer, which costs nothing: they are on the way to the parameters.
    Only the gradient of what is returned has a meaning. ``total`` sums over the processes that share a batch.
    """
    wanted, pushed = (torch.autograd.grad(SCALE * loss, images)[0] / SCALE for loss in (reconstruction, adversarial))
    squares = total(torch.stack([wanted.square().sum(), pushed.square().sum()]))
    ratio = (squares[0] / squares[1].clamp_min(1e-24)).sqrt()
    return (images * (wanted + weight * ratio * pushed)).sum()


def kl_weight(progress: float, maximum: float) -> float:
    """Weight of the KL term: rises linearly from 0 to its maximum over the whole training (against KL vanishing)."""
    return maximum * progress


def learning_rate(progress: float, maximum: float, decay: float) -> float:
    """Constant, then falling linearly to 0 over the last ``decay`` of the run."""
    return maximum * min(1.0, (1 - progress) / decay) if decay else maximum


def ema_decay(images_seen: int, batch: int, half_life: float) -> float:
    """Decay per step for a half-life counted in images, ramped up so that a young average forgets its start."""
    half_life = min(half_life, images_seen / 20)
    return 0.5 ** (batch / half_life) if half_life else 0.0
