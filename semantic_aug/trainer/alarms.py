"""Warnings about a run that goes wrong, derived from its measurements. Each says what to do."""

from collections.abc import Mapping

import torch
from torch import Tensor

SATURATED = 0.1  # hinge loss of D, which is 2 if it sees no difference and 0 if it recognises every image
BLIND = 0.02  # distance between D's mean scores of real and generated images
COLLAPSED = 0.02  # nats of KL per latent dimension
ALIKE = 0.5  # spread of prior samples, as a fraction of the spread of real images
UNIFORM = 0.1  # difference between two draws of an image, as a fraction of that between two images


def alarms(figures: Mapping[str, float], latent_dim: int) -> list[str]:
    """One line for each problem in the mean values between two log lines, or in those of a snapshot."""
    lines = []
    if figures.get("d_loss", 2.0) < SATURATED:
        lines.append(
            f"the discriminator tells every image (d_loss {figures['d_loss']:.3f}) and teaches nothing; "
            f"use more images, switch diffaugment on or lower adversarial_weight"
        )
    if "d_loss" in figures and abs(figures["d_real"] - figures["d_fake"]) < BLIND:
        lines.append(
            f"the discriminator sees no difference (scores {figures['d_real']:.3f} and {figures['d_fake']:.3f}); "
            f"early on it still learns, later raise discriminator_width or the learning rate"
        )
    if figures.get("kl", latent_dim) < COLLAPSED * latent_dim:
        lines.append(
            f"posterior collapse: the latents tell {figures['kl']:.3g} nats of an image; lower kl_weight, now "
            f"{figures.get('kl_weight', 0):.2g}"
        )
    if figures.get("prior_spread", 1.0) < ALIKE:
        lines.append(
            f"samples from the prior are alike (spread {figures['prior_spread']:.2f} of the real images'); "
            f"lower adversarial_weight, or raise kl_weight so that the prior is used"
        )
    if figures.get("diversity", 1.0) < UNIFORM:
        lines.append(
            f"two draws of an image hardly differ (diversity {figures['diversity']:.2f}); raise diversity_weight, or "
            f"lower draw_weight and adversarial_weight"
        )
    return lines


def spread(images: Tensor) -> float:
    """The standard deviation over images (N, C, S, S), averaged over pixels."""
    return float(torch.std(images.float(), dim=0, correction=0).mean())
