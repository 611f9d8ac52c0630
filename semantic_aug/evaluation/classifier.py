"""The judge: a classifier that is trained only on real images and then classifies augmented images."""

import copy
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import NoneType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchvision.models.resnet import BasicBlock
from torchvision.transforms.v2 import RandAugment

from semantic_aug._files import FileError, Spec, parse_json, raising, read_tensors
from semantic_aug._io import save_with_digest
from semantic_aug._random import seeded
from semantic_aug.data.dataset import ImageSet
from semantic_aug.data.orders import EndlessOrder
from semantic_aug.images import bytes_to_model, resize, to_model_channels
from semantic_aug.labels import label_table, same_names

FORMAT = "semantic-aug-judge/1"
WIDTH = 32  # channels of the first convolution, half of ResNet-18's
HIDDEN, GRID = 256, 3  # the VGG's dense layer has HIDDEN units and takes a map of (GRID, GRID)
SHIFT = 1 / 12  # largest translation in training, as a fraction of the size
GROUP = 8  # images that share a draw of RandAugment
LARGEST = 1e6  # magnitude of the weights and running statistics in a file
EPOCHS = 10  # of a training, unless told otherwise
WARM_UP = 0.2  # fraction of the training over which the learning rate rises
MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4


class JudgeError(ValueError):
    """A file is not a usable judge. The message names the file and says why."""


def resnet18(channels: int, num_classes: int, width: int = WIDTH) -> nn.Sequential:
    """ResNet-18 (He et al. 2016, arXiv 1512.03385) for small images: (N, channels, S, S) => logits (N, num_classes).

    The first convolution is 3x3 with stride 1, and the max pool is kept. torchvision's ``width`` is 64. The last module
    is the linear layer on the features, which are 8 ``width`` wide.
    """
    stem = nn.Conv2d(channels, width, 3, padding=1, bias=False)
    layers = [stem, nn.BatchNorm2d(width), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    before = width
    for after in (width, 2 * width, 4 * width, 8 * width):
        stride = 1 if after == before else 2
        shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
        layers += [BasicBlock(before, after, stride, shortcut if stride > 1 else None), BasicBlock(after, after)]
        before = after
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, num_classes))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network


def vgg(channels: int, num_classes: int, width: int = WIDTH) -> nn.Sequential:
    """A small VGG (Simonyan and Zisserman 2015, arXiv 1409.1556): (N, channels, S, S) => logits (N, num_classes).

    It is as different from the ResNet as a convolutional network can be. It has four convolutions without shortcuts,
    each followed by a maximum over 2x2, and a dense layer on a grid of ``GRID`` x ``GRID`` maxima, so that positions
    matter. The last module is the linear layer on its ``HIDDEN`` features.
    """
    layers: list[nn.Module] = []
    before = channels
    for stage, kernel in enumerate((5, 3, 3, 3)):
        after = width * 2**stage
        convolution = nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False)
        layers += [convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        layers.append(nn.MaxPool2d(2) if stage < 3 else nn.AdaptiveMaxPool2d(GRID))
        before = after
    dense = nn.Linear(before * GRID**2, HIDDEN, bias=False)
    return nn.Sequential(
        *layers, nn.Flatten(), dense, nn.LayerNorm(HIDDEN), nn.ReLU(inplace=True), nn.Linear(HIDDEN, num_classes)
    )


# The two networks share as little as possible, so that what fools one need not fool the other. Files store these names.
ARCHITECTURES: dict[str, Callable[[int, int], nn.Sequential]] = {"resnet18-half": resnet18, "vgg-small": vgg}
ARCHITECTURE = "resnet18-half"


@dataclass(kw_only=True)
class Judge:
    """A trained classifier, with a description of its input and its training.

    Attributes:
        network: a network of ``architecture``, float32, in eval mode, without gradients.
        classes: names in the order of the logits.
        channels, size: shape of the images it was trained on. Other images are converted.
        images, epochs, seed: number of training images, and settings of the training.
        accuracy: accuracy on held-out images, or None.
        architecture: a name in ``ARCHITECTURES``.
    """

    network: nn.Sequential
    classes: list[str]
    channels: int
    size: int
    images: int
    epochs: int
    seed: int
    accuracy: float | None = None
    architecture: str = ARCHITECTURE

    def __post_init__(self) -> None:
        self.network.eval().requires_grad_(False)

    @property
    def device(self) -> torch.device:
        """The device that the network is on."""
        return next(self.network.parameters()).device

    def to(self, device: str | torch.device) -> "Judge":
        """A copy with its network on ``device``, or this judge itself if it is already there."""
        if torch.device(device) == self.device:
            return self
        return replace(self, network=copy.deepcopy(self.network).to(device))

    def features(self, images: Tensor) -> Tensor:
        """Images (N, 1 or 3, H, W) in [-1, 1] => outputs of the penultimate layer (N, F), float32."""
        x = resize(to_model_channels(images, self.channels), (self.size, self.size))
        return self.network[:-1](x.contiguous(memory_format=torch.channels_last))

    def logits(self, images: Tensor) -> Tensor:
        """Images (N, 1 or 3, H, W) in [-1, 1] => (N, K)."""
        return self.network[-1](self.features(images))

    def probabilities(self, images: Tensor) -> Tensor:
        """Images (N, 1 or 3, H, W) in [-1, 1] => (N, K), with rows that sum to 1."""
        return self.logits(images).softmax(1)

    def table(self, classes: Sequence[str]) -> Tensor:
        """The index among the judge's classes of each of ``classes``, ignoring case, int64 (K,).

        Raises ValueError with both lists unless they hold the same names.
        """
        if not same_names(classes, self.classes):
            raise ValueError(
                f"the judge knows the classes {self.classes}, asked about {list(classes)}; "
                f"train a judge on images of these classes"
            )
        return label_table(classes, self.classes)

    def save(self, path: str | Path) -> Path:
        """Write a safetensors file atomically."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        meta = {"format": FORMAT, "network": self.architecture} | {name: getattr(self, name) for name in FIELDS}
        tensors = {name: value.detach().cpu().contiguous() for name, value in self.network.state_dict().items()}
        save_with_digest(tensors, path, {"judge": json.dumps(meta, sort_keys=True)})
        return path

    @classmethod
    @raising(JudgeError)
    def load(cls, path: str | Path) -> "Judge":
        """Read and check a judge. Raises FileNotFoundError, or JudgeError if the file is not a judge."""
        path = Path(path)
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file; expected a judge, as Judge.save writes it")
        networks = []

        def spec(metadata: dict[str, str]) -> Spec:
            meta = _read_meta(metadata.get("judge"), path)
            with torch.device("meta"):
                networks.append(ARCHITECTURES[meta["network"]](meta["channels"], len(meta["classes"])))
            return {
                name: (tuple(value.shape), ("F32",) if value.is_floating_point() else ("I64",))
                for name, value in networks[0].state_dict().items()
            }

        tensors, metadata = read_tensors(path, spec)
        meta = _read_meta(metadata["judge"], path)
        for name, value in tensors.items():
            largest = float(value.abs().max())
            if value.is_floating_point() and largest > LARGEST:
                raise FileError(
                    f"{path}: tensor {name!r} holds {largest:.3g}, expected at most {LARGEST:g}: "
                    f"the weights are damaged"
                )
        networks[0].load_state_dict(tensors, assign=True)
        judge = cls(network=networks[0], architecture=meta["network"], **{name: meta[name] for name in FIELDS})
        white = torch.ones(1, judge.channels, 32, 32, dtype=torch.float32, device="cpu")  # the networks take any size
        if not judge.network(white).isfinite().all():
            raise FileError(f"{path}: the logits of a white image are NaN or infinite: the weights are damaged")
        return judge


FIELDS: dict[str, tuple[type, ...]] = {
    "classes": (list,),
    "channels": (int,),
    "size": (int,),
    "images": (int,),
    "epochs": (int,),
    "seed": (int,),
    "accuracy": (float, NoneType),
}


def train_judge(
    data: ImageSet,
    held_out: ImageSet | None = None,
    *,
    architecture: str = ARCHITECTURE,
    epochs: int = EPOCHS,
    batch: int = 128,
    learning_rate: float = 0.1,
    seed: int = 0,
    device: str | torch.device = "cpu",
    precision: str = "fp32",
    balanced: bool = False,
    randaugment: bool = False,
    say: Callable[[str], object] = print,
    advance: Callable[[int], object] = lambda images: None,
) -> Judge:
    """Train a judge on real images. On a CPU, the same arguments give the same weights bit for bit.

    Args:
        data: images to train on. They are mirrored and shifted at random.
        held_out: images of the same classes, used only to measure the accuracy.
        architecture: a name in ``ARCHITECTURES``.
        epochs, batch, learning_rate: settings of SGD with Nesterov momentum. The rate rises linearly from 0 and then
            falls linearly to 0.
        seed: seed of the weights, the order and the random changes.
        device: where to train.
        precision: "fp32", or "bf16" for autocast, which is about twice as fast on a processor with bfloat16 units.
        balanced: train with the balanced softmax (Ren et al. 2020, arXiv 2007.10740), so that the judge does not prefer
            the classes with most images.
        randaugment: also apply RandAugment (Cubuk et al. 2020, arXiv 1909.13719) to the images.
        say: called with a line of text after each epoch.
        advance: called after each step with its number of images.

    Raises ValueError for settings or images that cannot be used for training, and RuntimeError if the loss diverges.
    """
    if not len(data) or epochs < 1 or batch < 1:
        raise ValueError(f"expected images, epochs and batch of at least 1, got {len(data)}, {epochs} and {batch}")
    if precision not in ("fp32", "bf16"):
        raise ValueError(f"precision must be fp32 or bf16, got {precision!r}")
    if architecture not in ARCHITECTURES:
        raise ValueError(f"architecture must be one of {', '.join(ARCHITECTURES)}, got {architecture!r}")
    held_out_table = label_table(held_out.classes, data.classes) if held_out else None
    device = torch.device(device)
    _, channels, size, _ = data.images.shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ARCHITECTURES[architecture](channels, len(data.classes))
    network.to(device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        network.parameters(), learning_rate, momentum=MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY
    )
    order = EndlessOrder(len(data), seed)
    counts = torch.tensor(data.counts(), dtype=torch.float32, device=device)
    log_prior = (counts / counts.sum()).log() if balanced else torch.zeros_like(counts)
    total, seen, losses = epochs * len(data), 0, []
    while seen < total:
        optimizer.param_groups[0]["lr"] = learning_rate * one_cycle(seen / total)
        indices = order(seen, min(batch, total - seen))
        uniform = torch.rand(len(indices), 3, generator=seeded(seed, "judge", seen))
        images = data.images[indices]
        if randaugment:
            images = augment_in_groups(images, seeded(seed, "randaugment", seen).initial_seed())
        x = vary(bytes_to_model(images), uniform).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            logits = network(x)
        loss = cross_entropy(logits.float() + log_prior, data.labels[indices].to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        previous, seen = seen, seen + len(indices)
        advance(len(indices))
        if previous // len(data) != seen // len(data):
            mean = float(torch.stack(losses).mean())
            losses = []
            if not math.isfinite(mean):
                raise RuntimeError(f"the judge's loss is {mean} after {seen} images; lower its learning rate")
            say(f"judge: epoch {seen // len(data)} of {epochs}, loss {mean:.4f}")
    judge = Judge(
        network=network,
        architecture=architecture,
        classes=data.classes,
        channels=channels,
        size=size,
        images=len(data),
        epochs=epochs,
        seed=seed,
    )
    if held_out and held_out_table is not None:
        judge.accuracy = _accuracy(judge, held_out, held_out_table)
        say(f"judge: accuracy {judge.accuracy:.4f} on {len(held_out)} held-out images")
    return judge


def one_cycle(progress: float) -> float:
    """Factor of the learning rate: 0 to 1 over ``WARM_UP`` of the training, then back to 0, linearly."""
    return min(progress / WARM_UP, (1 - progress) / (1 - WARM_UP))


def augment_in_groups(images: Tensor, seed: int) -> Tensor:
    """RandAugment of uint8 images (N, C, S, S), with a draw for each group of ``GROUP``, for it draws once per call."""
    transform = RandAugment()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return torch.cat([transform(group) for group in images.split(GROUP)])


def vary(images: Tensor, uniform: Tensor) -> Tensor:
    """Mirror half of the images, shift each by up to ``SHIFT`` of its size, its edges repeated; (N, C, S, S).

    ``uniform`` are three numbers in [0, 1) for each, (N, 3): the vertical and the horizontal shift, and the coin.
    """
    n, _, size, _ = images.shape
    shifts = ((uniform[:, :2] * 2 - 1) * size * SHIFT).round().long()
    positions = (torch.arange(size, device=images.device) + shifts[..., None]).clamp(0, size - 1)  # (N, 2, S)
    columns = torch.where(uniform[:, 2:] < 0.5, positions[:, 1].flip(1), positions[:, 1])
    rows, columns = positions[:, 0, :, None], columns[:, None, :]
    numbers = torch.arange(n, device=images.device)[:, None, None]
    return images.permute(0, 2, 3, 1)[numbers, rows, columns].permute(0, 3, 1, 2)


def _accuracy(judge: Judge, data: ImageSet, table: Tensor, batch: int = 256) -> float:
    right = 0
    for start in range(0, len(data), batch):
        part = slice(start, start + batch)
        predicted = judge.logits(data.batch(part).to(judge.device)).argmax(1).cpu()
        right += int((predicted == table[data.labels[part]]).sum())
    return right / len(data)


def _read_meta(text: str | None, path: Path) -> dict[str, Any]:
    if text is None:
        raise FileError(f"{path}: not a judge, its metadata has no 'judge'")
    meta = parse_json(text, f"{path}, 'judge'")
    found = (meta.get("format"), meta.get("network"))
    understood = [(FORMAT, name) for name in ARCHITECTURES]
    if found not in understood:
        raise FileError(f"{path}: format and network are {found!r:.80}, this version understands {understood}")
    for name, kinds in FIELDS.items():
        if name not in meta or type(meta[name]) not in kinds:
            expected = " or ".join(kind.__name__ for kind in kinds)
            raise FileError(f"{path}: {name!r} is {meta.get(name)!r:.80}, expected {expected}")
    names = meta["classes"]
    if not names or not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
        raise FileError(f"{path}: 'classes' must be one or more different names, got {names!r:.80}")
    if meta["channels"] not in (1, 3) or not 8 <= meta["size"] <= 4096:
        raise FileError(f"{path}: it takes images of {meta['channels']} channels and size {meta['size']}")
    return meta
