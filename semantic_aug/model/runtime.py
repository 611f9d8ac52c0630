"""An artifact ready to augment with: its networks and covariance factors on one device, in one precision."""

import copy
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from semantic_aug.model.artifact import Artifact, on_device
from semantic_aug.model.networks import NetworkConfig
from semantic_aug.model.recommended import Recommended
from semantic_aug.model.statistics import Shrinkage

PRECISIONS = (None, torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True, eq=False, kw_only=True)
class LatentModel:
    """E, G, class means and covariance factors of an artifact on one device, made by ``LatentModel.of``.

    Attributes:
        encoder, generator: E and G, in eval mode, channels last. They are those of the artifact if nothing had to
            change.
        network: sizes of the networks.
        recommended: settings that the artifact recommends.
        means: means of the latents of each class, float32 (K, d).
        factors: L_c with L_c L_c^T = Sigma_c, float32 (K + 1, d, r). The pooled factor is the last one, so that
            ``POOLED`` indexes it.
        dtype: dtype of the networks' convolutions and linear layers under autocast. None means float32 without
            autocast.

    Example::

        model = LatentModel.of(Artifact.from_pretrained("fer2013-48"))
        noise = torch.randn(8, model.network.latent_dim)
        augmented = functional.semantic_augment_image(torch.rand(8, 1, 48, 48), noise, model, strength=0.35)
    """

    encoder: nn.Module = field(repr=False)
    generator: nn.Module = field(repr=False)
    network: NetworkConfig
    recommended: Recommended
    means: Tensor = field(repr=False)
    factors: Tensor = field(repr=False)
    dtype: torch.dtype | None = None

    @classmethod
    @torch.inference_mode(False)
    def of(
        cls,
        artifact: Artifact,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        shrinkage: Shrinkage | Literal["recommended"] = "recommended",
        rank: int | None = None,
    ) -> "LatentModel":
        """Prepare an artifact.

        Args:
            artifact: the artifact, which is not changed.
            device: where to compute (None: where the artifact's networks are).
            dtype: bfloat16 or float16 runs the networks under autocast. The weights of convolutions and linear layers
                are stored in this dtype, so that they need not be cast in every call. Norms stay float32. None or
                float32 runs everything in float32.
            shrinkage: shrinkage of the covariances, as in ``ClassStatistics.covariance``.
            rank: number of leading directions of each covariance to keep, 1..d (None: all d).

        Raises ValueError for a precision that the device does not support, for a shrinkage or rank out of range, and if
        no class has two images.
        """
        device = on_device(artifact.device if device is None else device)
        dtype = None if dtype == torch.float32 else dtype
        check_dtype(dtype, device)
        networks: list[nn.Module] = [artifact.encoder, artifact.generator]
        if dtype is not None or device != on_device(artifact.device):
            networks = [_prepare(network, device, dtype) for network in networks]
        shrinkage = artifact.recommended.shrinkage if shrinkage == "recommended" else shrinkage
        return cls(
            encoder=networks[0],
            generator=networks[1],
            network=artifact.network,
            recommended=artifact.recommended,
            means=artifact.statistics.mean.float().to(device),
            factors=artifact.statistics.factors(shrinkage, rank).to(device),
            dtype=dtype,
        )

    @property
    def device(self) -> torch.device:
        """The device of the networks and statistics."""
        return self.factors.device

    @property
    def num_classes(self) -> int:
        """Number of classes K."""
        return len(self.means)

    def encode(self, images: Tensor) -> Tensor:
        """Images (N, channels, S, S) in [-1, 1] => latent means mu, float32 (N, d)."""
        with torch.no_grad(), self._autocast():
            return self.encoder(images)[0].float()

    def decode(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Latents (N, d) => images, float32 (N, channels, S, S) in [-1, 1].

        ``labels`` (N,) are class indices, -1 if a class is not known (None: all unknown). An unconditional artifact
        ignores them.
        """
        conditional = labels is not None and self.network.num_classes
        with torch.no_grad(), self._autocast():
            return (self.generator(latents, labels) if conditional else self.generator(latents)).float()

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype is not None)


def check_dtype(dtype: torch.dtype | None, device: torch.device | None = None) -> None:
    """Raise ValueError for a precision that is not available, or that ``device`` does not support."""
    if dtype not in PRECISIONS:
        raise ValueError(f"dtype must be None, torch.float32, torch.bfloat16 or torch.float16, got {dtype}")
    if dtype != torch.bfloat16 or device is None or device.type != "cuda":
        return
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        name = torch.cuda.get_device_name(device)
        raise ValueError(f"{name} has no torch.bfloat16; pass torch.float16 or torch.float32")


def _prepare(network: nn.Module, device: torch.device, dtype: torch.dtype | None) -> nn.Module:
    """Copy a network to ``device``, with the weights of its convolutions and linear layers in ``dtype``."""
    # Folding norms into their neighbours and convolving before upsampling would gain 10 to 20 % in float32, and nothing
    # measurable in bfloat16. It is not worth a second definition of the networks.
    prepared = copy.deepcopy(network).to(device)
    for layer in prepared.modules():
        if dtype is not None and isinstance(layer, nn.Conv2d | nn.Linear):
            layer.to(dtype)
    return prepared
