"""The training of one run, which can be interrupted at any moment and continues where it was."""

import hashlib
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn.functional import normalize

from semantic_aug import Artifact
from semantic_aug._io import save_whole
from semantic_aug._random import seeded
from semantic_aug.data.dataset import ImageSet
from semantic_aug.images import bytes_to_model

from .arms import parse_arm
from .bases import BASES
from .classifiers import CLASSIFIERS
from .context import Context, Key
from .crop import flip_crop
from .isda import ISDA
from .store import Run

SAVE_EVERY = 120.0  # seconds between two states on disk
# What a training depends on; what it is measured on is not among it.
TRAINED_BY = ("arm", "base", "classifier", "seed", "epochs", "settings", "protocol")


class OutOfTime(Exception):
    """The deadline came before the end of the training. The state is kept, and the same call continues."""


def train(
    run: Run,
    data: ImageSet,
    artifact: Artifact | None,
    device: torch.device,
    *,
    state: Path | None = None,
    cache: Path | None = None,
    deadline: float = math.inf,
) -> tuple[nn.Module, float]:
    """Train a classifier as ``run`` says. Returns it in eval mode, and the images per second.

    On a CPU the same arguments give the same weights bit for bit, also of a training that was cut off and resumed.

    Args:
        state: the file that keeps the training, also a finished one; None: nowhere.
        cache: a directory that keeps latents of the training images.
        deadline: of ``time.monotonic``, after which no step begins.

    Raises OutOfTime, and RuntimeError where the loss diverges.
    """
    arm, settings, seed = parse_arm(run["arm"]), run["settings"], run["seed"]
    views = len(arm.views)
    batch, classes = settings["batch"] // views, len(data.classes)  # of different images
    steps = max(run["epochs"] * len(data) // settings["batch"], 1)
    clean_from = steps - settings.get("clean_epochs", 0) * len(data) // settings["batch"]
    base, counts = BASES[run["base"]], torch.tensor(data.counts(), dtype=torch.float32, device=device)
    with torch.random.fork_rng(devices=[]):  # the initial weights and v2's transforms draw from the global generator
        torch.manual_seed(seed)
        network = CLASSIFIERS[run["classifier"]](settings["channels"], classes).to(device)
        network.to(memory_format=torch.channels_last)
        isda = ISDA(classes, network.head.in_features, device) if "lambda0" in settings else None
        optimizer = torch.optim.SGD(
            network.parameters(),
            settings["learning_rate"],
            momentum=settings["momentum"],
            nesterov=True,
            weight_decay=settings["weight_decay"],
        )
        progress = Progress(state, network, optimizer, isda)
        context = Context(data, settings, seed, device, artifact, cache)
        changes, mix = arm.changes(context), arm.mix(context)
        order, loss_of = base.order(data.labels, seed), base.loss(counts)
        images = data.images.to(device)

        def prepare(indices: Tensor, key: Key, view: int = 0) -> Tensor:
            x = images[indices.to(device, non_blocking=True)]
            if key[1] < clean_from:
                for change in changes[view]:
                    x = change(x, data.labels[indices], indices, key)
            if settings["crop"] == "flip-crop":
                uniform = torch.rand(len(indices), 3, generator=seeded("crop", *key))
                x = flip_crop(x, uniform.to(device, non_blocking=True))
            return bytes_to_model(x)

        for step in range(progress.load(), steps):
            if time.monotonic() >= deadline:
                progress.save(step)
                raise OutOfTime
            indices = order(step * batch, batch)
            targets = data.labels[indices].to(device, non_blocking=True).repeat(views)
            x = torch.cat([prepare(indices, (seed, step, view), view) for view in range(views)])
            if mix and step < clean_from:
                x, targets = mix(x, targets, (seed, step, 0), prepare)
            x = x.contiguous(memory_format=torch.channels_last)
            with torch.autocast(device.type, torch.bfloat16, enabled=settings["precision"] == "bf16"):
                logits, features = network(x)
            logits = logits.float()
            if isda:
                isda.update(features.detach().float(), targets)
                strength = settings["lambda0"] * (step / steps)
                logits = isda.logits(logits, targets, network.head.weight, strength)
            loss = loss_of(logits, targets, step / steps) + network.auxiliary(features, targets)
            if views > 1:
                loss = loss + settings["tie"] * distance_of_views(features.float())
            optimizer.param_groups[0]["lr"] = settings["learning_rate"] * one_cycle(step / steps, settings["warm_up"])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            if progress.due() or step + 1 == steps:
                if not math.isfinite(float(loss.detach())):
                    raise RuntimeError(f"the loss of {run['arm']}, seed {seed}, is not finite; lower learning_rate")
                progress.save(step + 1)
    return network.eval(), steps * settings["batch"] / progress.seconds


def one_cycle(progress: float, warm_up: float) -> float:
    """Factor of the learning rate. It rises linearly from 0 to 1 over ``warm_up`` of the run, and falls back to 0."""
    return min(progress / warm_up, (1 - progress) / (1 - warm_up))


def distance_of_views(features: Tensor) -> Tensor:
    """Mean squared distance of the unit features of two views, the first half and the second half of (2 B, A)."""
    first, second = normalize(features, dim=1).chunk(2)
    return (first - second).square().sum(1).mean()


def training_key(run: Run, data: ImageSet, device: torch.device, versions: Mapping[str, str]) -> str:
    """A name for a training. It is the same for runs that differ only in what they are measured on."""
    fields = {name: run[name] for name in TRAINED_BY} | {"device": device.type, "versions": dict(versions)}
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode())
    digest.update(data.images.contiguous().numpy())
    digest.update(data.labels.numpy())
    return digest.hexdigest()[:32]


class Progress:
    """The state of a training in memory and, where there is a ``path``, on disk.

    Every draw of a step is made from a key that holds the step, so weights, momentum and the step are the whole state.
    """

    def __init__(
        self, path: Path | None, network: nn.Module, optimizer: torch.optim.Optimizer, isda: nn.Module | None
    ) -> None:
        self.path, self.optimizer = path, optimizer
        self.modules = nn.ModuleDict({"network": network} | ({"isda": isda} if isda else {}))
        self.parameters = list(network.parameters())
        self.seconds, self.began, self.saved = 0.0, time.perf_counter(), time.monotonic()

    def load(self) -> int:
        """Load the state on disk. Returns the step to continue with, or 0 if no state can be read."""
        if self.path is None or not self.path.is_file():
            return 0
        try:
            with safe_open(self.path, "pt") as file:
                meta = file.metadata()
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError):
            return 0
        momenta = [tensors.pop(f"momentum.{i}", None) for i in range(len(self.parameters))]
        self.modules.load_state_dict(tensors)
        for parameter, momentum in zip(self.parameters, momenta, strict=True):
            if momentum is not None:
                self.optimizer.state[parameter]["momentum_buffer"] = torch.empty_like(parameter.data).copy_(momentum)
        self.seconds, self.began = float(meta["seconds"]), time.perf_counter()
        return int(meta["step"])

    def due(self) -> bool:
        """Whether it is time to save."""
        return time.monotonic() - self.saved >= SAVE_EVERY

    def save(self, step: int) -> None:
        """Keep what the ``step`` steps until now have made."""
        self.seconds += time.perf_counter() - self.began
        if self.path is not None:
            tensors: dict[str, Any] = dict(self.modules.state_dict())
            for i, parameter in enumerate(self.parameters):
                if "momentum_buffer" in self.optimizer.state[parameter]:
                    tensors[f"momentum.{i}"] = self.optimizer.state[parameter]["momentum_buffer"]
            self.path.parent.mkdir(parents=True, exist_ok=True)
            save_whole(
                {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
                self.path,
                {"step": str(step), "seconds": repr(self.seconds)},
            )
        self.began, self.saved = time.perf_counter(), time.monotonic()
