"""The training of one run. It can be interrupted at any time and resumed from its last saved state."""

import hashlib
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from semantic_aug import Artifact
from semantic_aug._files import FileError, read_tensors
from semantic_aug._io import save_with_digest
from semantic_aug._random import seeded
from semantic_aug.data.dataset import ImageSet
from semantic_aug.images import bytes_to_model

from .arms import parse_arm
from .bases import BASES
from .classifiers import CLASSIFIERS
from .context import Context, Key
from .crop import flip_crop
from .isda import ISDA
from .protocol import AT_THE_END
from .store import Run

SAVE_EVERY = 120.0  # seconds between two states on disk
# The fields that a training depends on. The evaluation images are not among them.
TRAINED_BY = ("arm", "base", "classifier", "seed", "epochs", "settings", "protocol")


class OutOfTime(Exception):
    """The deadline passed before the end of the training. The state is saved, and the same call resumes."""


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
    """Train the classifier of ``run``. Returns the classifier in eval mode, and the images per second.

    On a CPU the same arguments give the same weights bit for bit, even if the training was interrupted and resumed.

    Args:
        run: a description of the run.
        data: the training images.
        artifact: the checkpoint, for arms that use one.
        device: the device to train on.
        state: a file for the state of the training, including the final state. None: the state is not saved.
        cache: a directory that keeps latents of the training images.
        deadline: a time of ``time.monotonic``, after which no step begins.

    Raises OutOfTime after the deadline, and RuntimeError if the loss diverges.
    """
    arm, settings, seed = parse_arm(run["arm"]), run["settings"], run["seed"]
    views = len(arm.views)
    batch, classes = settings["batch"] // views, len(data.classes)  # the batch counts different images
    steps = max(run["epochs"] * len(data) // settings["batch"], 1)
    clean_from, real_from = (steps - settings.get(name, 0) * len(data) // settings["batch"] for name in AT_THE_END)
    real_from = min(real_from, clean_from)
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
            for part, change in changes[view]:
                if key[1] < (real_from if part.uses_checkpoint else clean_from):
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
    """Factor of the learning rate. It rises from 0 to 1 during ``warm_up``, a fraction of the run, and falls to 0."""
    return min(progress / warm_up, (1 - progress) / (1 - warm_up))


def distance_of_views(features: Tensor) -> Tensor:
    """Mean squared distance between the normalised features of two views, which are the two halves of (2 B, A)."""
    first, second = normalize(features, dim=1).chunk(2)
    return (first - second).square().sum(1).mean()


def training_key(run: Run, data: ImageSet, device: torch.device, versions: Mapping[str, str]) -> str:
    """A name for a training. It is the same for runs that differ only in their evaluation images."""
    fields = {name: run[name] for name in TRAINED_BY} | {"device": device.type, "versions": dict(versions)}
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode())
    digest.update(data.images.contiguous().numpy().data)
    digest.update(data.labels.numpy().data)
    return digest.hexdigest()[:32]


class Progress:
    """The state of a training in memory and, where there is a ``path``, on disk.

    All random numbers of a step are drawn from a key that contains the step. The state therefore consists only of the
    weights, the momentum and the step.
    """

    def __init__(
        self, path: Path | None, network: nn.Module, optimizer: torch.optim.Optimizer, isda: nn.Module | None
    ) -> None:
        self.path, self.optimizer = path, optimizer
        self.modules = nn.ModuleDict({"network": network} | ({"isda": isda} if isda else {}))
        self.parameters = list(network.parameters())
        self.seconds, self.began, self.saved = 0.0, time.perf_counter(), time.monotonic()

    def load(self) -> int:
        """Load the state from disk. Returns the next step, or 0 if there is no readable state."""
        if self.path is None or not self.path.is_file():
            return 0
        try:
            tensors, meta = read_tensors(self.path, lambda _: None)
        except (FileError, OSError):
            return 0
        momenta = [tensors.pop(f"momentum.{i}", None) for i in range(len(self.parameters))]
        self.modules.load_state_dict(tensors)
        for parameter, momentum in zip(self.parameters, momenta, strict=True):
            if momentum is not None:
                self.optimizer.state[parameter]["momentum_buffer"] = torch.empty_like(parameter.data).copy_(momentum)
        self.seconds, self.began = float(meta["seconds"]), time.perf_counter()
        return int(meta["step"])

    def due(self) -> bool:
        """Whether it is time to save the state."""
        return time.monotonic() - self.saved >= SAVE_EVERY

    def save(self, step: int) -> None:
        """Save the state after ``step`` steps."""
        self.seconds += time.perf_counter() - self.began
        if self.path is not None:
            tensors: dict[str, Any] = dict(self.modules.state_dict())
            for i, parameter in enumerate(self.parameters):
                if "momentum_buffer" in self.optimizer.state[parameter]:
                    tensors[f"momentum.{i}"] = self.optimizer.state[parameter]["momentum_buffer"]
            self.path.parent.mkdir(parents=True, exist_ok=True)
            save_with_digest(
                {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
                self.path,
                {"step": str(step), "seconds": repr(self.seconds)},
            )
        self.began, self.saved = time.perf_counter(), time.monotonic()
