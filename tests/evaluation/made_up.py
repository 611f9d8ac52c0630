"""An artifact and judges whose figures are known in closed form.

An image is a left half of one brightness and a right half of another; its two latents are these. The class is the sign
of the left one, which varies little within a class; the right one varies much.
"""

from types import SimpleNamespace

import torch
from torch import nn

from semantic_aug.data.dataset import ImageSet
from semantic_aug.evaluation.classifier import Judge
from semantic_aug.model.recommended import Recommended
from semantic_aug.model.statistics import ClassStatistics

CLASSES = ["dark", "light"]
SIZE, LEFT, DEVIATIONS = 16, 0.3, (0.1, 0.3)  # pixels, |latent 0| of every image, deviations within a class
SPREAD = ((DEVIATIONS[0] ** 2 + DEVIATIONS[1] ** 2) / 2) ** 0.5  # of isotropic noise


def encode(x):
    return torch.stack([x[..., : SIZE // 2].mean((1, 2, 3)), x[..., SIZE // 2 :].mean((1, 2, 3))], 1)


def decode(z):
    halves = z[:, None, None, :].expand(-1, 1, SIZE, 2)
    return halves.repeat_interleave(SIZE // 2, dim=3).clamp(-1, 1)


class Encoder(nn.Module):
    """E: the latents have no log variances here, for nobody asks for them."""

    def forward(self, x):
        return encode(x), None


class Generator(nn.Module):
    """G."""

    def forward(self, z):
        return decode(z)


def build_artifact():
    statistics = ClassStatistics(2, 2)
    corners = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]]) * torch.tensor(DEVIATIONS)
    for label, sign in enumerate((-1, 1)):
        statistics.update(corners + torch.tensor([sign * LEFT, 0]), torch.full((4,), label))
    return SimpleNamespace(
        network=SimpleNamespace(channels=1, image_size=SIZE, latent_dim=2, num_classes=0),
        classes=CLASSES,
        statistics=statistics,
        device=torch.device("cpu"),
        encoder=Encoder(),
        generator=Generator(),
        encode=encode,
        decode=decode,
        recommended=Recommended(shrinkage=None, strength=0.35),
    )


def build_images(per_class=300):
    labels = torch.arange(2).repeat_interleave(per_class)
    left = torch.where(labels == 1, LEFT, -LEFT)
    right = torch.linspace(-0.2, 0.2, per_class).repeat(2)
    images = ((decode(torch.stack([left, right], 1)) + 1) * 127.5).round().to(torch.uint8)
    return ImageSet(images, labels, CLASSES, [None] * len(labels))


class Signs(nn.Module):
    """Logits by the sign of the left half: of "dark" and of "light"."""

    def forward(self, x):
        left = encode(x)[:, :1]
        return torch.cat([-left, left], 1)


class Nothing(nn.Module):
    """Logits that depend on a pixel of no class."""

    def forward(self, x):
        other = encode(x)[:, 1:]
        return torch.cat([-other, other], 1)


def build_judge(network=None):
    last = nn.Linear(2, 2)
    nn.init.eye_(last.weight)
    nn.init.zeros_(last.bias)
    return Judge(
        network=nn.Sequential(network or Signs(), last),
        classes=CLASSES,
        channels=1,
        size=SIZE,
        images=5,
        epochs=1,
        seed=0,
    )


def difference(x, y):
    """In place of LPIPS: the mean absolute difference."""
    return (x - y).abs().mean((1, 2, 3))
