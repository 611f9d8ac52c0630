"""LPIPS (Zhang et al. 2018, arXiv 1801.03924), frozen."""

import os
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

WEIGHTS = {"squeeze": "squeezenet1_1-b8a52dc0.pth", "alex": "alexnet-owt-7be5be79.pth", "vgg": "vgg16-397923af.pth"}


class Perceptual(nn.Module):
    """LPIPS distance of each pair of images. Gradients flow only to the images.

    Raises FileNotFoundError, which names the missing file, if the trunk's weights can neither be found nor downloaded.
    A random trunk would train something else.
    """

    def __init__(self, net: str = "squeeze") -> None:
        super().__init__()
        import lpips

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # lpips calls torchvision by arguments of an older version
                self.metric = lpips.LPIPS(net=net, verbose=False).eval().requires_grad_(False)
        except Exception as error:  # no network, or a file that is broken in one of many ways
            path = Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS[net]
            home = "TORCH_HOME is set" if "TORCH_HOME" in os.environ else "or set TORCH_HOME"
            raise FileNotFoundError(
                f"the weights of LPIPS's trunk cannot be loaded ({error}); put "
                f"https://download.pytorch.org/models/{WEIGHTS[net]} at {path} ({home})"
            ) from error

    def forward(self, images: Tensor, reconstructions: Tensor) -> Tensor:
        """Two batches (N, 1 or 3, H, W) in [-1, 1] => distances (N,). Raises ValueError for another range."""
        if images.device.type == "cpu" and len(images) and images.abs().max() > 1.001:
            raise ValueError(f"expected images in [-1, 1], got values up to {float(images.abs().max()):.3g}")
        shape = (-1, 3, -1, -1)
        return self.metric(images.expand(*shape), reconstructions.expand(*shape)).flatten()
