"""The classifiers of the benchmark. They are made for small images and trained from scratch.

Each classifier maps images (N, C, S, S) in [-1, 1] to logits (N, K) and a state. ``auxiliary(state, targets)`` returns
a term that is added to the loss. ``head`` is the last linear layer.
"""

from collections.abc import Callable

import torchvision
from torch import Tensor, nn

from semantic_aug.evaluation.classifier import resnet18

from .dan import DAN


class Plain(nn.Module):
    """A trunk followed by a linear layer. The state is the features (N, A) between them."""

    def __init__(self, trunk: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.trunk, self.head = trunk, head

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See the module."""
        features = self.trunk(images)
        return self.head(features), features

    def auxiliary(self, state: Tensor, targets: Tensor) -> float:
        """Return 0, because this classifier adds nothing to the loss."""
        return 0.0


def resnet34(channels: int, num_classes: int) -> Plain:
    """torchvision's ResNet-34, but the first convolution is 3x3 with stride 1."""
    network = torchvision.models.resnet34(num_classes=num_classes)
    network.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    head, network.fc = network.fc, nn.Identity()
    return Plain(network, head)


def narrow_resnet18(width: int) -> Callable[[int, int], Plain]:
    """The architecture of the judge, with ``width`` channels after the first convolution instead of 64."""

    def make(channels: int, num_classes: int) -> Plain:
        network = resnet18(channels, num_classes, width)
        head = network[-1]
        assert isinstance(head, nn.Linear)
        return Plain(network[:-1], head)

    return make


def dan(channels: int, num_classes: int) -> DAN:
    """DAN on a ResNet-18."""
    return DAN(resnet18(channels, num_classes, width=64)[:-3], num_classes)  # without pooling, flattening and head


CLASSIFIERS: dict[str, Callable[[int, int], Plain | DAN]] = {
    "resnet18-quarter": narrow_resnet18(16),
    "resnet18-half": narrow_resnet18(32),
    "resnet34": resnet34,
    "dan": dan,
}
