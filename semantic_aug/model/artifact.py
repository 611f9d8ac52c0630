"""An artifact: the VAE (E and G), the latent statistics of each class and the class names.

It is trained once, stored in a directory (``format``) or on the Hub (``hub``), and used by the transforms.
"""

import copy
import hashlib
import json
import tempfile
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from semantic_aug._io import errors_about, workplace
from semantic_aug.model.card import model_card
from semantic_aug.model.facts import to_table
from semantic_aug.model.format import (
    ArtifactError,
    check_outputs,
    own_file,
    read_card,
    read_config,
    read_networks,
    read_statistics,
    replace_directory,
    version,
    write_files,
)
from semantic_aug.model.hub import CONFIG, push, resolve
from semantic_aug.model.networks import NO_LABEL, Encoder, Generator, NetworkConfig
from semantic_aug.model.recommended import Recommended
from semantic_aug.model.statistics import ClassStatistics

ATTEMPTS = 5  # to read a directory that other processes replace meanwhile
PICTURES = ("preview.png", "samples.png")  # shown in the model card


@dataclass(kw_only=True, eq=False)
class Artifact:
    """A loaded checkpoint: networks, statistics and class names. It runs the networks eagerly in float32.

    Attributes:
        encoder: E, float32, in eval mode, without gradients, channels last.
        generator: G, in the same state.
        network: sizes of both networks.
        statistics: statistics of the latents of each class.
        classes: names in label order.
        recommended: the settings that did best on validation data.
        reconstruction: mean and standard deviation of the L1 (and LPIPS) of held-out images, or empty.
        training: what the networks were trained on and with, or empty.
        directory: absolute path of the directory that it was loaded from or saved to, or None. Worker processes load
            it from there. A copy made by ``dataclasses.replace`` has no directory, so it is pickled whole. Set
            ``directory`` to None after changing the artifact in place.
        card: the text of the model card (README.md).

    Example::

        artifact = Artifact.from_pretrained("fer2013-48")
        faces = artifact.sample(artifact.classes.index("happy"), 4)  # (4, 1, 48, 48) in [-1, 1]
        artifact.save("my-checkpoint")
    """

    encoder: Encoder = field(repr=False)
    generator: Generator = field(repr=False)
    network: NetworkConfig
    statistics: ClassStatistics = field(repr=False)
    classes: list[str]
    recommended: Recommended = field(default_factory=Recommended)
    reconstruction: dict[str, float] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict, repr=False)
    directory: Path | None = field(default=None, init=False)
    card: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if self.network.num_classes not in (0, len(self.classes)):
            raise ValueError(
                f"the generator is conditional on {self.network.num_classes} classes, the artifact has "
                f"{len(self.classes)}: {self.classes}; artifact.unconditional() has a generator without classes"
            )
        for network in (self.encoder, self.generator):
            network.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def _repr_html_(self) -> str:
        """A table of facts, for notebooks."""
        return to_table(self)

    @property
    def conditional(self) -> bool:
        """Whether the generator decodes a latent differently for each class."""
        return self.network.num_classes > 0

    @property
    def device(self) -> torch.device:
        """The device that the networks are on."""
        return next(self.generator.parameters()).device

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all weights and statistics in memory."""
        digest = hashlib.sha256(json.dumps([self.network.to_dict(), self.classes]).encode())
        parts = [self.encoder.state_dict(), self.generator.state_dict(), self.statistics.to_tensors()]
        for tensors in parts:
            for name, tensor in sorted(tensors.items()):
                if not name.endswith("num_batches_tracked"):  # not stored
                    digest.update(name.encode() + tensor.cpu().numpy().tobytes())  # in C order whatever the strides
        return digest.hexdigest()

    def to(self, device: str | torch.device) -> "Artifact":
        """A copy with its networks on ``device``, or this artifact itself if they are already there."""
        if on_device(device) == on_device(self.device):
            return self
        encoder, generator = copy.deepcopy(self.encoder).to(device), copy.deepcopy(self.generator).to(device)
        copied = replace(self, encoder=encoder, generator=generator)
        copied.directory = self.directory
        return copied

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Images (N, channels, S, S) in [-1, 1] => latent means mu (N, d)."""
        with self._exactly():
            return self.encoder(images)[0]

    @torch.no_grad()
    def decode(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Latents (N, d) => images (N, channels, S, S) in [-1, 1].

        ``labels`` (N,) are class indices on the device of ``latents``, -1 if a class is not known (None: all unknown).
        An unconditional artifact ignores them. A conditional one raises ValueError for a label that is not one of its
        classes, but checks this only if it does not require waiting for a device.
        """
        if not self.conditional or labels is None:
            with self._exactly():
                return self.generator(latents)
        if labels.device.type == "cpu" and labels.numel():
            low, high = int(labels.min()), int(labels.max())
            if low < NO_LABEL or high >= self.network.num_classes:
                raise ValueError(
                    f"labels must lie in 0..{self.network.num_classes - 1} ({', '.join(self.classes)}), or be "
                    f"{NO_LABEL} where the class is not known, got {low}..{high}"
                )
        with self._exactly():
            return self.generator(latents, labels)

    def _exactly(self) -> AbstractContextManager[object]:
        """Ignore the caller's autocast."""
        device = self.device.type
        return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()

    def unconditional(self) -> "Artifact":
        """A copy with an unconditional generator. It decodes as this artifact does without labels."""
        if not self.conditional:
            return self
        network = replace(self.network, num_classes=0)
        with torch.device("meta"):
            generator = Generator(network)
        d = network.latent_dim
        state = {  # the columns after the first d embed the label
            name: value[:, :d].clone() if name.endswith("modulation.weight") else value.clone()
            for name, value in self.generator.state_dict().items()
        }
        generator.load_state_dict(state, assign=True)
        return replace(self, network=network, generator=generator)

    def sample(
        self, label: int, n: int, generator: torch.Generator | None = None, *, temperature: float = 1.0
    ) -> Tensor:
        """Draw ``n`` new images (n, channels, S, S) in [-1, 1] of a class.

        They are decoded from N(mean_c, temperature^2 Sigma_c). A temperature below 1 gives more typical and less
        varied images. Raises ValueError for an unknown label.
        """
        self.statistics.check_label(label)
        mean = self.statistics.mean[label].float()
        noise = torch.randn(n, len(mean), generator=generator, device="cpu", dtype=torch.float32)
        factor = self.statistics.factor(label, self.recommended.shrinkage)
        with torch.autocast("cpu", enabled=False):
            latents = (mean + temperature * noise @ factor.T).to(self.device)
        return self.decode(latents, torch.full((n,), label, device=self.device))

    @classmethod
    @torch.inference_mode(False)
    def from_pretrained(
        cls,
        checkpoint: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
    ) -> "Artifact":
        """Load and check a bundled checkpoint, a directory or a repository on the Hugging Face Hub.

        Loading does not use any random generator.

        Args:
            checkpoint: a bundled name, a directory, or ``user/repo`` or ``user/repo@revision``. They are looked up in
                this order, so a directory ``user/repo`` takes precedence over the Hub. A ``Path`` is always a
                directory.
            revision: a branch, a tag or the 40 digits of a commit in the Hub repository. Only a commit never changes.
            token: token for the Hub (None: ``HF_TOKEN`` or the one that ``hf auth login`` stored; False: no token).
            cache_dir: where downloads are kept (None: huggingface_hub's cache, which ``HF_HOME`` moves).
            local_files_only: use only files in the cache and make no requests, as ``HF_HUB_OFFLINE=1`` does.
            force_download: download files again, for example if they are damaged in the cache.

        Raises FileNotFoundError, with the reason, if the checkpoint cannot be found, and ArtifactError for anything
        wrong with it. If the Hub does not answer, files in the cache are used, with a UserWarning.
        """
        for _ in range(ATTEMPTS):
            path = resolve(
                checkpoint,
                revision=revision,
                token=token,
                cache_dir=cache_dir,
                local_files_only=local_files_only,
                force_download=force_download,
            )
            found = version(path)
            try:
                return cls._read(path)
            except ArtifactError:
                if version(path) == found:
                    raise
        return cls._read(path)

    @classmethod
    def _read(cls, path: Path) -> "Artifact":
        config = read_config(path)
        encoder, generator = read_networks(path, config)
        statistics = read_statistics(path, config)
        artifact = cls(
            encoder=encoder,
            generator=generator,
            network=config.network,
            statistics=statistics,
            classes=config.classes,
            recommended=config.recommended,
            reconstruction=config.reconstruction,
            training=config.training,
            card=read_card(path),
        )
        check_outputs(path, config, encoder, generator, statistics)
        artifact.directory = path.absolute()
        return artifact

    def save(self, directory: str | Path, *, overwrite: bool = False, half: bool | None = None) -> Path:
        """Write the artifact. A crash at any moment leaves either the old artifact or the new one.

        ``half`` stores the networks in float16 and rounds those in memory in the same way. None does so only if float16
        represents them exactly, as after loading a checkpoint that was stored in it. Files in an old artifact's
        directory that are not part of the format are kept. Raises FileExistsError if ``directory`` exists and
        ``overwrite`` is False, ArtifactError for weights that are not finite (in float16, with ``half``), and OSError
        if the disk is full. An old artifact then stays intact.
        """
        half = self._fits_half() if half is None else half
        absolute = Path(directory).absolute()  # resolved first, because the current directory may be replaced
        resolved = absolute.resolve()
        with errors_about(Path(directory), resolved):
            replace_directory(resolved, lambda folder: self._write(folder, half), overwrite=overwrite)
        if half:  # so that a worker that loads ``directory`` computes the same
            for network in (self.encoder, self.generator):
                for value in network.state_dict().values():
                    if value.is_floating_point():
                        value.copy_(value.half())
        self.directory = absolute
        return Path(directory)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        tag: str | None = None,
        license: str | None = None,
        token: str | bool | None = None,
        commit_message: str | None = None,
    ) -> str:
        """Upload the artifact, its card and the card's pictures to a Hub repository. It is created if necessary.

        The pictures are ``preview.png`` and ``samples.png`` in ``directory``. Nothing else there is uploaded. An
        artifact without a card gets one with its classes and measured figures, unless the repository already has one.
        Networks that float16 can represent exactly are stored in float16.

        Args:
            repo_id: ``user/repo``.
            private: make a new repository private (None: as the account's or organisation's settings say).
            tag: a new tag for this state of the repository, such as "v1.0".
            license: license for a new card, such as "apache-2.0" (None: "unknown").
            token: a token with write access (None: ``HF_TOKEN`` or the one that ``hf auth login`` stored).
            commit_message: message of the commit.

        Returns ``user/repo@commit``, which loads exactly this artifact. Raises ValueError if ``license`` is given
        although the artifact has a card, if ``private`` is set but the repository is public, or if the tag exists.
        Raises PermissionError if the token may not write, and ConnectionError if the Hub cannot be reached or fails.
        """
        if license is not None and self.card:
            raise ValueError(
                f"license={license!r} is for a card yet to be written; this artifact's card states its own"
            )
        with workplace(Path(tempfile.gettempdir(), "semantic-aug-push")) as temporary:
            self._write(temporary, half=self._fits_half())
            files = {path.name: path for path in temporary.iterdir()}
            found = {name: own_file(self.directory, name) for name in PICTURES} if self.directory else {}
            pictures = {name: path for name, path in found.items() if path is not None}
            config = json.loads(files[CONFIG].read_text(encoding="utf-8"))
            return push(
                files | pictures,
                repo_id,
                card=model_card(repo_id, config, list(pictures), license or "unknown"),
                private=private,
                tag=tag,
                token=token,
                commit_message=commit_message,
            )

    def _fits_half(self) -> bool:
        values = [*self.encoder.state_dict().values(), *self.generator.state_dict().values()]
        return all(torch.equal(value.half().float(), value) for value in values if value.is_floating_point())

    def _write(self, directory: Path, half: bool) -> None:
        config = {
            "network": self.network.to_dict(),
            "image_size": self.network.image_size,
            "channels": self.network.channels,
            "classes": self.classes,
            "counts": self.statistics.count.tolist(),
            "recommended": asdict(self.recommended),
            "rank": None,
            "reconstruction": self.reconstruction,
            "training": self.training,
        }
        networks = {"encoder": self.encoder, "generator": self.generator}
        write_files(directory, config, networks, self.statistics, self.card, half=half)


def on_device(device: str | torch.device) -> torch.device:
    """``device`` with its index, so that "cuda" equals "cuda:0" if that is the current device."""
    device = torch.device(device)
    if device.type == "cpu":
        return torch.device("cpu")
    if device.index is not None or device.type == "meta":
        return device
    return torch.device(device.type, torch.cuda.current_device() if device.type == "cuda" else 0)
