"""Encoder E, generator G and discriminator D of the VAE-GAN, and the presets.

Images are float tensors (N, channels, image_size, image_size) in [-1, 1]; latents are (N, latent_dim).
The stems fold patches of ``patch_size`` x ``patch_size`` pixels into channels, and the generator's head unfolds them
(pixel shuffle). At full resolution the networks would be limited by memory traffic. Level 0 is the folded resolution.
Every level halves it, as long as the size is even and above 4, or above 6 for a latent map.

The latent is a map at the lowest resolution (``latent_map``), so that every value describes a part of the image, or a
vector that describes the whole image. To everything outside this file, a map is a vector too: it is flattened.

Besides the convolutions, E and G have one linear layer each, between patches of the image and the values of the map, or
between a thumbnail of the image and the vector. The optimum of a linear VAE is probabilistic PCA (Lucas et al. 2019,
arXiv 1911.02469). ``trainer/pca.py`` initialises the linear layers there, and the convolutions start at zero, so that
training does not have to learn the PCA slowly. The paper (arXiv 2411.17254) asks for a ResNet-style encoder and
BigGAN-style G and D. The details of the method are ours.

G and D may be conditional on the class (``num_classes`` above 0). The latent and the label then modulate G's norms, and
D is a projection discriminator (Miyato and Koyama 2018, arXiv 1802.05637). Labels are int64 (N,). The label -1,
``NO_LABEL``, stands for an unknown class and adds nothing, so a conditional G can also decode without a label.
"""

from dataclasses import asdict, dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, interpolate, pad, pixel_shuffle, pixel_unshuffle, relu
from torch.nn.utils.parametrizations import spectral_norm

THUMBNAIL_VALUES = 4096  # upper bound of the pixels times channels in the thumbnails of the linear layers
START_LOGVAR = -3.0  # log variance of a latent when training starts, while the means have a variance of 1
NO_LABEL = -1
LOWEST_MAP, LOWEST_VECTOR = 6, 4  # side of the lowest feature map, at most, for a latent map or vector
LOGVAR_LIMIT = 10.0  # a standard deviation between e^-5 and e^5; beyond it, exp() is unsafe in low precision


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Sizes of the three networks. Raises ValueError for a value with which no network can be built."""

    image_size: int
    """Height and width in pixels: a multiple of 16 from 32 to 256. Images of other sizes are resized to it."""
    channels: int
    """1 (grey) or 3 (RGB)."""
    latent_dim: int = 128
    """Length d of the latent vector, 1 to 4096."""
    width: int = 48
    """Channels of E and G at level 0, 1 to 512. They double at each level, up to ``max_multiplier`` times as many."""
    max_multiplier: int = 4
    """Upper bound of the factor by which channels grow, 1 to 64."""
    discriminator_width: int = 32
    """The same as ``width`` for D. An artifact has no D, so there the field only records how it was trained."""
    patch_size: int = 2
    """Side of the patches folded into channels: 1 or 2."""
    num_classes: int = 0
    """Number of classes that G and D are conditional on, 2 to 65536, or 0 for unconditional networks."""
    latent_map: bool = False
    """Whether the latent is a map of ``latent_channels`` x ``lowest_size`` x ``lowest_size`` values, flattened."""

    def __post_init__(self) -> None:
        bounds = {
            "image_size": (32, 256),
            "latent_dim": (1, 4096),
            "width": (1, 512),
            "max_multiplier": (1, 64),
            "discriminator_width": (1, 512),
            "num_classes": (0, 65536),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise ValueError(f"{name} must be an integer from {low} to {high}, got {value!r:.80}")
        if self.image_size % 16:
            nearest = min(max(round(self.image_size / 16) * 16, 32), 256)
            raise ValueError(
                f"image_size must be a multiple of 16 from 32 to 256, got {self.image_size!r:.80}; "
                f"{nearest} is the nearest (images are resized to it)"
            )
        for name, choices in {"patch_size": {1: "1", 2: "2"}, "channels": {1: "1 (grey)", 3: "3 (RGB)"}}.items():
            value = getattr(self, name)
            if type(value) is not int or value not in choices:  # 1.0 and True equal 1
                raise ValueError(f"{name} must be {' or '.join(choices.values())}, got {value!r:.80}")
        if self.width % self.patch_size**2:
            raise ValueError(f"width must be a multiple of {self.patch_size**2} for this patch_size, got {self.width}")
        if not isinstance(self.latent_map, bool):
            raise ValueError(f"latent_map must be true or false, got {self.latent_map!r:.80}")
        if self.latent_map and self.latent_dim % self.lowest_size**2:
            raise ValueError(
                f"latent_dim must be a multiple of {self.lowest_size**2} for a map of {self.lowest_size} x "
                f"{self.lowest_size}, got {self.latent_dim}"
            )
        if self.num_classes == 1:
            raise ValueError("num_classes must be 0 (unconditional) or at least 2, got 1: a single class tells nothing")

    def to_dict(self) -> dict[str, int | bool]:
        """The fields as an artifact stores them. ``OPTIONAL`` fields are left out at their defaults, as in format 1."""
        return {name: value for name, value in asdict(self).items() if name not in OPTIONAL or value}

    @property
    def levels(self) -> int:
        """How often the folded resolution is halved: with patches of 2 pixels and a vector, 2 at 32 px, 5 at 256."""
        size, levels = self.image_size // self.patch_size, 0
        while size % 2 == 0 and size > (LOWEST_MAP if self.latent_map else LOWEST_VECTOR):
            size, levels = size // 2, levels + 1
        return levels

    @property
    def lowest_size(self) -> int:
        """Height and width of the smallest feature map: 4 at 32, 64 and 256 px; at 48 px 6 for a map, else 3."""
        return (self.image_size // self.patch_size) >> self.levels

    @property
    def latent_channels(self) -> int:
        """Channels of a latent map."""
        return self.latent_dim // self.lowest_size**2

    @property
    def latent_patch(self) -> int:
        """Side in pixels of the patch that a position of a latent map belongs to: 8 at 32 and 48 px, 64 at 256."""
        return self.image_size // self.lowest_size

    @property
    def folded_channels(self) -> int:
        """Channels of an image after its patches are folded."""
        return self.channels * self.patch_size**2

    @property
    def thumbnail_size(self) -> int:
        """Height and width of the linear layers' thumbnail: the image size, halved until it has few enough values."""
        size = self.image_size
        while self.channels * size**2 > THUMBNAIL_VALUES:
            size //= 2
        return size

    def widths(self, base: int) -> list[int]:
        """Channels at levels 0 to ``levels``."""
        return [base * min(2**level, self.max_multiplier) for level in range(self.levels + 1)]


OPTIONAL = ("num_classes", "latent_map")  # fields of NetworkConfig that format 1 does not have

PRESETS = {
    "tiny": NetworkConfig(image_size=32, channels=1, latent_dim=8, width=8, max_multiplier=2, discriminator_width=4),
    "fer2013-48": NetworkConfig(image_size=48, channels=1, latent_dim=576, latent_map=True),
    "fashion-mnist-32": NetworkConfig(
        image_size=32, channels=1, latent_dim=256, latent_map=True, width=32, discriminator_width=24
    ),
    "rgb-32": NetworkConfig(image_size=32, channels=3, latent_dim=256, latent_map=True),
    "rafdb-96": NetworkConfig(image_size=96, channels=3, latent_dim=576, latent_map=True),
}


def _conv3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)


def _start_at_zero(layer: nn.Conv2d | nn.Linear) -> None:
    """Set a residual branch or modulation to zero. The path from x to x' that remains is learnt faster."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def one_hot(labels: Tensor, num_classes: int) -> Tensor:
    """Labels (N,) => float32 (N, num_classes), with a row of zeros for ``NO_LABEL``."""
    return (labels[:, None] == torch.arange(num_classes, device=labels.device)).float()


class EncoderBlock(nn.Module):
    """Pre-activation residual block: (N, inputs, S, S) -> (N, outputs, S/2, S/2)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = _conv3(inputs, outputs, stride=2)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.conv2 = _conv3(outputs, outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1)
        _start_at_zero(self.conv2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(relu(self.norm1(x)))
        h = self.conv2(relu(self.norm2(h)))
        return h + self.skip(avg_pool2d(x, 2))


class Encoder(nn.Module):
    """E: images (N, channels, S, S) -> mean and log variance of the latent, (N, d) each (Eq. 1)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        widths = config.widths(config.width)
        self.latent_dim = config.latent_dim
        self.patch_size = config.patch_size
        self.stem = _conv3(config.folded_channels, widths[0])
        self.blocks = nn.Sequential(*(EncoderBlock(*pair) for pair in pairwise(widths)))
        self.norm = nn.BatchNorm2d(widths[-1])
        self.latent_map = config.latent_map
        self.thumbnail_size = config.thumbnail_size
        if config.latent_map:
            patch, channels = config.latent_patch, config.latent_channels
            self.head: nn.Conv2d | nn.Linear = nn.Conv2d(widths[-1], 2 * channels, 1)
            self.linear: nn.Conv2d | nn.Linear = nn.Conv2d(config.channels, channels, patch, stride=patch)
        else:
            self.head = nn.Linear(widths[-1] * config.lowest_size**2, 2 * config.latent_dim)
            self.linear = nn.Linear(config.channels * config.thumbnail_size**2, config.latent_dim)
        _start_at_zero(self.head)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        h = self.blocks(self.stem(pixel_unshuffle(images, self.patch_size)))
        h = relu(self.norm(h))
        if not self.latent_map:
            h, images = h.flatten(1), adaptive_avg_pool2d(images, self.thumbnail_size).flatten(1)
        mu, logvar = self.head(h).chunk(2, dim=1)
        mu, logvar = (mu + self.linear(images)).flatten(1), (logvar + START_LOGVAR).flatten(1)
        return mu, logvar.clamp(-LOGVAR_LIMIT, LOGVAR_LIMIT)


class ModulatedBatchNorm(nn.Module):
    """BigGAN's conditional batch norm: (N, C, S, S) and the condition (N, m) -> (N, C, S, S)."""

    def __init__(self, channels: int, condition_dim: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.modulation = nn.Linear(condition_dim, 2 * channels)
        _start_at_zero(self.modulation)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        gain, bias = self.modulation(condition)[:, :, None, None].chunk(2, dim=1)
        return torch.addcmul(bias, self.norm(x), 1 + gain)


class GeneratorBlock(nn.Module):
    """Up block: (N, inputs, S, S) and the condition (N, m) -> (N, outputs, 2S, 2S)."""

    def __init__(self, inputs: int, outputs: int, condition_dim: int) -> None:
        super().__init__()
        self.norm1 = ModulatedBatchNorm(inputs, condition_dim)
        self.conv1 = _conv3(inputs, outputs)
        self.norm2 = ModulatedBatchNorm(outputs, condition_dim)
        self.conv2 = _conv3(outputs, outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1)
        _start_at_zero(self.conv2)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        h = self.conv1(interpolate(relu(self.norm1(x, condition)), scale_factor=2.0))
        h = self.conv2(relu(self.norm2(h, condition)))
        return h + interpolate(self.skip(x), scale_factor=2.0)


class Generator(nn.Module):
    """G: latents (N, d) and, if it is conditional, labels (N,) -> images (N, channels, S, S) in [-1, 1].

    An unconditional G ignores labels. ``None`` means ``NO_LABEL`` for all latents.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        widths = config.widths(config.width)[::-1]
        self.num_classes = config.num_classes
        self.latent_map, side = config.latent_map, config.lowest_size
        self.lowest = (config.latent_channels if config.latent_map else widths[0], side, side)
        self.stem: nn.Conv2d | nn.Linear
        if config.latent_map:
            self.stem = _conv3(config.latent_channels, widths[0])
        else:
            self.stem = nn.Linear(config.latent_dim, widths[0] * side**2)
        condition_dim = config.latent_dim + config.num_classes
        self.blocks = nn.ModuleList(GeneratorBlock(*pair, condition_dim) for pair in pairwise(widths))
        self.norm = nn.BatchNorm2d(widths[-1])
        self.unfold = _conv3(widths[-1], widths[-1])
        self.patch_size = config.patch_size
        # This layer works at full resolution, so that there are no seams between patches.
        self.head = _conv3(widths[-1] // config.patch_size**2, config.channels)
        _start_at_zero(self.head)
        self.thumbnail = (config.channels, config.thumbnail_size, config.thumbnail_size)
        self.linear: nn.ConvTranspose2d | nn.Linear
        if config.latent_map:
            # Every pixel depends on the four nearest places of the map, so that there are no seams between patches.
            size, padding = 2 * config.latent_patch, 3 * config.latent_patch // 2
            self.linear = nn.ConvTranspose2d(
                config.latent_channels, config.channels, size, stride=size // 2, padding=padding
            )
        else:
            self.linear = nn.Linear(config.latent_dim, config.channels * config.thumbnail_size**2)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.latent_map:
            latent_map = z.unflatten(1, self.lowest)
            h, linear = self.stem(latent_map), self.linear(pad(latent_map, (1, 1, 1, 1), mode="replicate"))
        else:
            h, linear = self.stem(z).unflatten(1, self.lowest), self.linear(z).unflatten(1, self.thumbnail)
        condition = self._condition(z, labels)
        for block in self.blocks:
            h = block(h, condition)
        h = pixel_shuffle(self.unfold(relu(self.norm(h))), self.patch_size)
        h = self.head(relu(h))
        if linear.shape != h.shape:
            linear = interpolate(linear, size=h.shape[2:], mode="bilinear")
        return torch.tanh(h + linear)

    def _condition(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """What modulates the norms: the latent and the one-hot label, which the modulation's weights embed."""
        if not self.num_classes:
            return z
        known = z.new_zeros(len(z), self.num_classes) if labels is None else one_hot(labels, self.num_classes).to(z)
        return torch.cat([z, known], dim=1)


class DiscriminatorBlock(nn.Module):
    """Down block without norm layers: (N, inputs, S, S) -> (N, outputs, S/2, S/2)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = spectral_norm(_conv3(inputs, outputs))
        self.conv2 = spectral_norm(_conv3(outputs, outputs))
        self.skip = spectral_norm(nn.Conv2d(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(relu(self.conv1(relu(x))))
        return avg_pool2d(h, 2) + self.skip(avg_pool2d(x, 2))


class Discriminator(nn.Module):
    """D: images (N, channels, S, S) and, if it is conditional, labels (N,) -> realness scores (N,), unbounded.

    A conditional D is a projection discriminator: D(x, y) = w^T h(x) + v_y^T h(x), with v_y = 0 for ``NO_LABEL``.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        widths = config.widths(config.discriminator_width)
        self.num_classes = config.num_classes
        self.patch_size = config.patch_size
        self.stem = spectral_norm(_conv3(config.folded_channels, widths[0]))
        self.blocks = nn.Sequential(*(DiscriminatorBlock(*pair) for pair in pairwise(widths)))
        self.head = spectral_norm(nn.Linear(widths[-1], 1))
        if config.num_classes:
            self.embedding = spectral_norm(nn.Linear(widths[-1], config.num_classes, bias=False))

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        h = self.blocks(self.stem(pixel_unshuffle(images, self.patch_size)))
        h = relu(h).sum(dim=(2, 3))
        scores = self.head(h).squeeze(1)
        if self.num_classes and labels is not None:
            scores = scores + (self.embedding(h) * one_hot(labels, self.num_classes)).sum(1)
        return scores
