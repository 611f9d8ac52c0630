"""DAN, the distract-your-attention network (Wen et al. 2021, arXiv 2109.07270), with exactly K centres.

It is trained from scratch, because the authors' trunk was trained on faces that are not available. Its input has the
same size as that of the other classifiers, so it has the same stem, a first 3x3 convolution with stride 1.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

FEATURES, HIDDEN, HEADS = 512, 256, 4
SQUEEZE = 16  # reduction of the channel attention
EPSILON = 1e-8


class Head(nn.Module):
    """Spatial attention followed by channel attention. Maps a feature map (N, 512, H, W) to (N, 512)."""

    def __init__(self) -> None:
        super().__init__()
        self.reduce = nn.Sequential(nn.Conv2d(FEATURES, HIDDEN, 1), nn.BatchNorm2d(HIDDEN))
        self.views = nn.ModuleList(
            nn.Sequential(nn.Conv2d(HIDDEN, FEATURES, (h, w), padding=(h // 2, w // 2)), nn.BatchNorm2d(FEATURES))
            for h, w in ((3, 3), (1, 3), (3, 1))
        )
        self.channels = nn.Sequential(
            nn.Linear(FEATURES, FEATURES // SQUEEZE), nn.BatchNorm1d(FEATURES // SQUEEZE), nn.ReLU(),
            nn.Linear(FEATURES // SQUEEZE, FEATURES), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        y = self.reduce(x)
        attention = torch.stack([view(y) for view in self.views]).sum(0).relu().sum(1, keepdim=True)  # (N, 1, H, W)
        pooled = (x * attention).mean((2, 3))
        return pooled * self.channels(pooled)


class DAN(nn.Module):
    """Returns logits (N, K), and a state for the losses: pooled features (N, 512) and heads (N, 4, 512).

    Args:
        trunk: images => a feature map (N, 512, H, W).
        num_classes: K.
    """

    def __init__(self, trunk: nn.Module, num_classes: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(Head() for _ in range(HEADS))
        self.head = nn.Linear(FEATURES, num_classes)
        self.norm = nn.BatchNorm1d(num_classes)
        for module in self.heads.modules():  # only these, as in the authors' code
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
                assert module.bias is not None
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.001)
                nn.init.zeros_(module.bias)
        self.trunk = trunk  # keeps its initial weights
        self.centres = nn.Parameter(torch.randn(num_classes, FEATURES))

    def forward(self, images: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """See the class."""
        x = self.trunk(images)
        heads = torch.stack([head(x) for head in self.heads], 1).float().log_softmax(1)
        return self.norm(self.head(heads.sum(1))), (x.mean((2, 3)), heads)

    def auxiliary(self, state: tuple[Tensor, Tensor], targets: Tensor) -> Tensor:
        """The affinity loss plus the partition loss. ``targets`` are labels (N,) or soft labels (N, K)."""
        features, heads = state
        soft = targets if targets.is_floating_point() else one_hot(targets, len(self.centres)).float()
        return affinity(features.float(), soft, self.centres) + partition(heads)


def affinity(features: Tensor, soft: Tensor, centres: Tensor) -> Tensor:
    """1 / B sum_i |f_i - c_y|^2 / sum_d Var_k(c_kd), in expectation over the soft labels (B, K) of features (B, d)."""
    distance = (features[:, None] - centres).square().sum(2)
    return (soft * distance).sum() / len(features) / centres.var(0).sum()


def partition(heads: Tensor) -> Tensor:
    """log(1 + k / sigma^2) of k heads (B, k, d), where sigma^2 is their mean variance. It is small if they differ."""
    k = heads.shape[1]
    return (1 + k / (heads.var(1).mean() + EPSILON)).log()
