"""The losses of the VAE-GAN and their schedules: pure functions."""

from torch import Tensor
from torch.nn.functional import relu


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
