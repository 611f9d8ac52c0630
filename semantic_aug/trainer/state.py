"""Everything that a resumed run needs: networks, moving averages, optimisers and the number of images seen."""

import copy
import json
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from semantic_aug import _distributed
from semantic_aug._files import FileError, Spec, check_finite, parse_json, raising, read_tensors
from semantic_aug._io import own_folder, save_with_digest
from semantic_aug.model.artifact import Artifact
from semantic_aug.model.networks import Discriminator, Encoder, Generator
from semantic_aug.trainer.config import TrainConfig, differences
from semantic_aug.trainer.running import RunningStatistics

MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # Adam's tensors for a weight
KEPT = 2  # number of snapshots to keep: the newest and the one before it


class StateError(ValueError):
    """A state belongs to another run, or none of the states can be read."""


class TrainState:
    """Networks E, G and D, the averages of E and G, their optimisers, ``images_seen`` and ``seconds`` of training.

    If the configuration uses them, it also has the class ``head``, which classifies latents, and the ``running``
    statistics of the latents. Otherwise these are None. ``images_digest`` is ``ImageSet.digest`` of the training
    images, or empty if they are not compared. ``world_sizes`` are the numbers of processes of the run, each with the
    number of images seen when they began.

    Random generators are not part of it, because every step makes new ones from (seed, images_seen).
    """

    def __init__(self, config: TrainConfig, device: torch.device, scaler: torch.amp.GradScaler | None = None) -> None:
        self.config, self.scaler = config, scaler
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.encoder = Encoder(config.network)
            self.generator = Generator(config.network)
            self.discriminator = Discriminator(config.network)
            self.head = nn.Linear(config.network.latent_dim, len(config.data)) if config.uses_class_head else None
        self.running: RunningStatistics | None = None
        if config.uses_draws:
            self.running = RunningStatistics(len(config.data), config.network.latent_dim).to(device)
        for network in self.networks:
            network.to(device).to(memory_format=torch.channels_last)
        self.ema_encoder = copy.deepcopy(self.encoder).eval().requires_grad_(False)
        self.ema_generator = copy.deepcopy(self.generator).eval().requires_grad_(False)
        autoencoder = [*self.encoder.parameters(), *self.generator.parameters()]
        if self.head is not None:
            autoencoder += self.head.parameters()
        self.autoencoder_optimizer = torch.optim.Adam(autoencoder, config.learning_rate, betas=(0.5, 0.99))
        self.discriminator_optimizer = torch.optim.Adam(
            self.discriminator.parameters(), config.learning_rate, betas=(0.0, 0.99)
        )
        self.images_seen = 0
        self.seconds = 0.0
        self.images_digest = ""
        self.world_sizes: list[list[int]] = []

    @property
    def networks(self) -> list[nn.Module]:
        """The networks that are trained: E, G, D and the class head, if there is one."""
        return [self.encoder, self.generator, self.discriminator, *([self.head] if self.head is not None else [])]

    def note_processes(self, world_size: int) -> None:
        """Record with how many processes the run goes on, if that has changed."""
        if not self.world_sizes or self.world_sizes[-1][1] != world_size:
            self.world_sizes.append([self.images_seen, world_size])

    def set_learning_rate(self, value: float) -> None:
        """Set the learning rate of both optimisers."""
        for optimizer in (self.autoencoder_optimizer, self.discriminator_optimizer):
            for group in optimizer.param_groups:
                group["lr"] = value

    def start_from(self, artifact: Artifact) -> None:
        """Copy E and G from an artifact. Raises ValueError if its networks have other sizes."""
        different = differences(asdict(artifact.network), asdict(self.config.network))
        if different:
            raise ValueError(f"the checkpoint has other networks than the preset ({'; '.join(different)})")
        self.encoder.load_state_dict(artifact.encoder.state_dict())
        self.generator.load_state_dict(artifact.generator.state_dict())

    def step(self, *, discriminator: bool) -> None:
        """Step E and G, and D if ``discriminator`` is set, and clear the gradients. Then update fp16's scale."""
        for optimizer in (self.autoencoder_optimizer, self.discriminator_optimizer)[: 1 + discriminator]:
            if self.scaler is None:
                optimizer.step()
            else:
                self.scaler.step(optimizer)
            optimizer.zero_grad(set_to_none=True)
        if self.scaler is not None:
            self.scaler.update()

    @torch.no_grad()
    def share_running_statistics(self) -> None:
        """Average the running statistics of the batch norms over the processes, because each saw other images."""
        if _distributed.rank_and_world()[1] > 1:
            running = [
                buffer
                for network in (self.encoder, self.generator)
                for name, buffer in network.named_buffers()
                if name.endswith(("running_mean", "running_var"))
            ]
            means = _distributed.mean_over_processes(torch.cat([buffer.flatten() for buffer in running]))
            for buffer, mean in zip(running, means.split([buffer.numel() for buffer in running]), strict=True):
                buffer.copy_(mean.view_as(buffer))

    @torch.no_grad()
    def update_ema(self, decay: float) -> None:
        """Average the parameters of E and G, and copy the running statistics of their batch norms."""
        for average, network in ((self.ema_encoder, self.encoder), (self.ema_generator, self.generator)):
            for mean, value in zip(average.parameters(), network.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)
            for copied, running in zip(average.buffers(), network.buffers(), strict=True):
                copied.copy_(running)

    @raising(StateError)
    def save(self, directory: Path, config: TrainConfig) -> Path:
        """Write ``directory/<images_seen>.safetensors`` atomically and delete all but the newest two.

        Raises StateError for numbers that are not finite. The older states then stay.
        """
        own_folder(directory)
        path = directory / f"{self.images_seen:012d}.safetensors"
        meta: dict[str, Any] = {"images_seen": self.images_seen, "seconds": self.seconds, "config": asdict(config)}
        meta |= {"images_digest": self.images_digest, "world_sizes": self.world_sizes}
        if self.scaler is not None:
            meta["scaler"] = self.scaler.state_dict()
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self._tensors().items()}
        check_finite(path, tensors)
        save_with_digest(tensors, path, {"state": json.dumps(meta)})
        remove_old(directory)
        return path

    def resume(self, directory: Path, config: TrainConfig) -> bool:
        """Load the newest intact state below ``directory``. Returns False if there is none.

        Warns of every newer one that is damaged. Raises StateError for a state of another configuration, with the
        fields that differ, or of other images, and if states exist but none is intact.
        """
        paths = sorted(directory.glob("*.safetensors"), reverse=True)
        problems: list[str] = []
        for path in paths:
            try:
                meta, tensors = self._read(path, config)
            except (FileError, OSError) as error:
                problems.append(str(error))
                continue
            different = differences(meta["config"], _plain(config))
            if different:
                text = f"{'; '.join(different):.500}"
                raise StateError(f"{path} belongs to another run ({text}); choose another --output")
            found = meta.get("images_digest")  # an older version stored none
            if found and self.images_digest and found != self.images_digest:
                raise StateError(f"{path}: the training images have changed since; choose another --output")
            self._load(tensors)
            if self.scaler is not None:
                self.scaler.load_state_dict(meta["scaler"])
            self.images_seen, self.seconds = meta["images_seen"], meta["seconds"]
            self.world_sizes = meta.get("world_sizes", [])
            for problem in problems:
                warnings.warn(f"{problem}; going on from the older state {path.name}", stacklevel=2)
            return True
        if problems:
            raise StateError(f"no state can be read ({'; '.join(problems)}); delete {directory} to start over")
        return False

    def _read(self, path: Path, config: TrainConfig) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Read and check a state. The tensors of another configuration are not compared with this one's."""
        meta: dict[str, Any] = {}

        def spec(metadata: dict[str, str]) -> Spec | None:
            meta.update(parse_json(metadata.get("state", ""), f"{path}, 'state'"))
            types: dict[str, Any] = {"images_seen": int, "seconds": (int, float), "config": dict}
            types |= {} if self.scaler is None else {"scaler": dict}
            for name, kind in types.items():
                if not isinstance(meta.get(name), kind):
                    raise FileError(f"{path}: {name!r} is {meta.get(name)!r:.80}, expected {kind}")
            return None if differences(meta["config"], _plain(config)) else self._spec()

        moments = self._moments()
        tensors, _ = read_tensors(path, spec, moments)
        for name in moments:
            weight, _, _ = name.rpartition(".")
            if name not in tensors and any(f"{weight}.{other}" in tensors for other in MOMENTS):
                raise FileError(f"{path}: it lacks the tensor {name}, but has others of the same weight")
        return meta, tensors

    def _spec(self) -> Spec:
        """The tensors of a state after the first step of both optimisers."""
        floats = ("F32",)
        spec = {
            f"{prefix}.{name}": (tuple(value.shape), floats if value.is_floating_point() else ("I64",))
            for prefix, module in self._modules().items()
            for name, value in module.state_dict().items()
        }
        return spec | {name: (shape, floats) for name, shape in self._moments().items()}

    def _moments(self) -> dict[str, tuple[int, ...]]:
        """The shapes of Adam's tensors. A state has those of an optimiser only after its first step."""
        return {
            f"{prefix}.{index}.{name}": () if name == "step" else tuple(weight.shape)
            for prefix, optimizer in self._optimizers().items()
            for index, weight in enumerate(weight for group in optimizer.param_groups for weight in group["params"])
            for name in MOMENTS
        }

    def _modules(self) -> dict[str, nn.Module]:
        names = ("encoder", "generator", "discriminator", "ema_encoder", "ema_generator", "head", "running")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {name: getattr(self, name) for name in ("autoencoder_optimizer", "discriminator_optimizer")}

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {
            f"{prefix}.{name}": value
            for prefix, module in self._modules().items()
            for name, value in module.state_dict().items()
        }
        for prefix, optimizer in self._optimizers().items():
            for index, moments in optimizer.state_dict()["state"].items():
                tensors |= {f"{prefix}.{index}.{name}": value for name, value in moments.items()}
        return tensors

    def _load(self, tensors: dict[str, Tensor]) -> None:
        for prefix, module in self._modules().items():
            module.load_state_dict(_below(tensors, prefix))
        for prefix, optimizer in self._optimizers().items():
            weights = [weight for group in optimizer.param_groups for weight in group["params"]]
            moments: dict[int, dict[str, Tensor]] = {}
            for key, value in _below(tensors, prefix).items():
                index, name = key.split(".")
                if value.shape == weights[int(index)].shape:  # a step is fastest in the memory layout of the weight
                    value = torch.empty_like(weights[int(index)]).copy_(value)
                moments.setdefault(int(index), {})[name] = value
            optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})


def remove_old(directory: Path) -> None:
    """Delete all states but the newest two."""
    for old in sorted(directory.glob("*.safetensors"))[:-KEPT]:
        old.unlink()


def _plain(config: TrainConfig) -> dict[str, Any]:
    """The configuration after a round trip through JSON, as a state file stores it."""
    return json.loads(json.dumps(asdict(config)))


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key[len(prefix) + 1 :]: value for key, value in tensors.items() if key.startswith(prefix + ".")}
