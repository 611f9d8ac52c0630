"""The losses of the VAE-GAN and their schedules: pure functions."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, normalize, one_hot, relu

SCALE = 2.0**12  # keeps float16 gradients of single pixels above 0; a power of two does not change any digits


def kl(mu: Tensor, logvar: Tensor) -> Tensor:
    """Eq. 2: KL(N(mu, var) || N(0, I)), summed over latent dimensions, averaged over the batch; (N, d) x 2 => ()."""
    return 0.5 * (mu.square() + logvar.exp() - logvar - 1).sum(dim=1).mean()


def l1(images: Tensor, reconstructions: Tensor) -> Tensor:
    """Eq. 3, first term: mean absolute difference over batch, channels and pixels."""
    return (images - reconstructions).abs().mean()


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """BigGAN's hinge loss of D on its scores of real and generated images, (N,) each. It is 2 if D cannot tell them."""
    return relu(1 - real).mean() + relu(1 + fake).mean()


def hinge_generator(fake: Tensor) -> Tensor:
    """BigGAN's hinge loss of G on D's scores of generated images (N,)."""
    return -fake.mean()


# --- The class: x' is made from the image x of class y, and f is a frozen classifier -----------------------------


def balanced_softmax(logits: Tensor, labels: Tensor, log_prior: Tensor) -> Tensor:
    """-log(n_y e^(l_y) / sum_k n_k e^(l_k)), averaged over the batch: cross-entropy that is not biased by a long tail.

    Ren et al. 2020 (arXiv 2007.10740), Eq. 3. ``logits`` are (N, K), ``labels`` are (N,), and ``log_prior`` (K,) is
    log(n_k / n).
    """
    return cross_entropy(logits + log_prior, labels)


def feature_distance(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """The mean over layers l and positions of |u_l(x) - u_l(x')|^2.

    u_l are the features of a layer, normalised to unit length over channels. This is LPIPS (Zhang et al. 2018, arXiv
    1801.03924, Eq. 1) with all its weights 1. Each sequence holds (N, C_l, H_l, W_l).
    """
    distances = [
        (normalize(a.float(), eps=1e-3) - normalize(b.float(), eps=1e-3)).square().sum(1).mean()
        for a, b in zip(real, fake, strict=True)
    ]
    return torch.stack(distances).mean()


def class_divergence(real: Tensor, fake: Tensor) -> Tensor:
    """KL(f(x) || f(x')) of logits (N, K), averaged over the batch."""
    return kl_div(fake.log_softmax(1), real.log_softmax(1), reduction="batchmean", log_target=True)


def draw_cross_entropy(logits: Tensor, real_logits: Tensor, labels: Tensor) -> Tensor:
    """-sum_k t_k log f_k(x'), t = (onehot(y) + f(x)) / 2, averaged over the batch, so that a draw x' keeps the class.

    With only the label as target, a draw would have to look more like its class than the image itself does.
    (N, K), (N, K), (N,) => ().
    """
    target = (one_hot(labels, logits.shape[1]) + real_logits.softmax(1)) / 2
    return cross_entropy(logits, target)


def change_ratio(images: tuple[Tensor, Tensor], latents: tuple[Tensor, Tensor]) -> Tensor:
    """|x_1 - x_2|_1 / |z_1 - z_2|_1 of N pairs, as means over pixels and dimensions: (N, C, S, S), (N, d) => (N,).

    This is what mode seeking maximises (Mao et al. 2019, arXiv 1903.05628, Eq. 3).
    """
    (x1, x2), (z1, z2) = images, latents
    return (x1 - x2).abs().mean(dim=(1, 2, 3)) / (z1 - z2).abs().mean(dim=1).clamp(min=1e-6)


def diversity(drawn: Tensor, real: Tensor) -> Tensor:
    """The mean of min(ratio of two draws / ratio of two real images, 1), each a ``change_ratio``: (N,), (N,) => ().

    A generator that ignores the draw gets 0. The cap avoids a reward for noise: relative to the distance of their
    latents, two draws need not differ more than two images do.
    """
    return (drawn / real.detach().clamp(min=1e-6)).clamp(max=1).mean()


# --- Weights and schedules ---------------------------------------------------------------------------------------


def balanced(
    images: Tensor,
    reconstruction: Tensor,
    adversarial: Tensor,
    weight: float,
    total: Callable[[Tensor], Tensor] = lambda values: values,
) -> Tensor:
    """A surrogate for reconstruction + w x adversarial, where w gives the norms of the gradients the ratio ``weight``.

    This is VQGAN's adaptive weight (Esser et al. 2021, arXiv 2012.09841, Eq. 7), but the gradients are taken at the
    generated ``images`` (N, C, S, S) and not at G's last layer. That costs nothing, because backpropagation computes
    them anyway. Only the gradient of the returned value is meaningful. ``total`` sums over the processes that share a
    batch.
    """
    # Both losses see some of the draws, so they share part of the graph.
    wanted = torch.autograd.grad(SCALE * reconstruction, images, retain_graph=True)[0] / SCALE
    pushed = torch.autograd.grad(SCALE * adversarial, images)[0] / SCALE
    squares = total(torch.stack([wanted.square().sum(), pushed.square().sum()]))
    ratio = (squares[0] / squares[1].clamp_min(1e-24)).sqrt()
    return (images * (wanted + weight * ratio * pushed)).sum()


def kl_weight(progress: float, maximum: float) -> float:
    """Weight of the KL term. It rises linearly from 0 to its maximum over the whole training, against KL vanishing."""
    return maximum * progress


def learning_rate(progress: float, maximum: float, decay: float) -> float:
    """Constant at first, and then falling linearly to 0 over the last ``decay`` of the run."""
    return maximum * min(1.0, (1 - progress) / decay) if decay else maximum


def ema_decay(images_seen: int, batch: int, half_life: float) -> float:
    """Decay per step for a half-life counted in images. It ramps up so that a young average forgets its start."""
    half_life = min(half_life, images_seen / 20)
    return 0.5 ** (batch / half_life) if half_life else 0.0
