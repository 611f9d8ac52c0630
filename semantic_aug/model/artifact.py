"""An artifact: the VAE (E and G), the latent statistics of each class and the class names, as a directory.

Format 1, specified in the README: ``config.json``, ``model.safetensors``, ``statistics.safetensors``, ``README.md``.
Nothing in it is executable or pickled. What a file claims is checked before memory is allocated for it.
"""

import copy
import hashlib
import json
import math
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from semantic_aug.model.card import model_card
from semantic_aug.model.hub import CARD, CONFIG, MODEL, STATISTICS, previous, push, resolve
from semantic_aug.model.networks import Encoder, Generator, NetworkConfig
from semantic_aug.model.statistics import ClassStatistics, Shrinkage

FORMAT = "semantic-aug/1"
FILES = (CONFIG, MODEL, STATISTICS, CARD)
PICTURES = ("preview.png", "samples.png")  # of the card
MAX_CONFIG_BYTES = 16 << 20
DOWNLOAD_AGAIN = "download it again (from the Hub: Artifact.from_pretrained(..., force_download=True))"
Mode = Literal["decode", "detail"]
MODES: tuple[Mode, ...] = ("decode", "detail")
RECOMMENDED = {"mode": "detail", "p": 0.5, "shrinkage": "oas", "strength": 0.35}  # until measured on validation data


class ArtifactError(ValueError):
    """An artifact cannot be used. The message names the file, what was found and what was expected."""


@dataclass(kw_only=True)
class Artifact:
    """Networks, statistics and class names, loaded; and the plain eager float32 path through the networks.

    Attributes:
        encoder: E, float32, in eval mode, without gradients.
        generator: G, in the same state.
        statistics: of the latents of each class.
        classes: names in label order.
        recommended: ``mode``, ``p``, ``shrinkage`` and ``strength`` that did best on validation data.
        reconstruction: mean and standard deviation of the L1 (and LPIPS) of held-out images, or empty.
        training: what the networks were trained on and with, or empty.
        directory: where it was loaded from or saved to, absolute, or None. Worker processes load it from there: set
            it to None after changing anything, so that it travels to them whole.
        card: the text of the model card (README.md).
    """

    encoder: Encoder
    generator: Generator
    network: NetworkConfig
    statistics: ClassStatistics
    classes: list[str]
    recommended: dict[str, Any] = field(default_factory=lambda: dict(RECOMMENDED))
    reconstruction: dict[str, float] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    directory: Path | None = None
    card: str = ""

    def __post_init__(self) -> None:
        for network in (self.encoder, self.generator):
            network.eval().requires_grad_(False)

    @property
    def shrinkage(self) -> Shrinkage:
        """The recommended shrinkage of the covariances."""
        return self.recommended["shrinkage"]

    @property
    def device(self) -> torch.device:
        """The device that the networks are on."""
        return next(self.generator.parameters()).device

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all weights and statistics, as they are in memory."""
        digest = hashlib.sha256(json.dumps([asdict(self.network), self.classes]).encode())
        parts = [self.encoder.state_dict(), self.generator.state_dict(), self.statistics.to_tensors()]
        for tensors in parts:
            for name, tensor in sorted(tensors.items()):
                if not name.endswith("num_batches_tracked"):  # which is not stored
                    digest.update(name.encode() + tensor.cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def to(self, device: str | torch.device) -> "Artifact":
        """A copy with its networks on ``device``; this artifact itself where they are there already."""
        if torch.device(device) == self.device:
            return self
        encoder, generator = copy.deepcopy(self.encoder).to(device), copy.deepcopy(self.generator).to(device)
        return replace(self, encoder=encoder, generator=generator)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Images (N, channels, S, S) in [-1, 1] => latent means mu (N, d)."""
        return self.encoder(images)[0]

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents (N, d) => images (N, channels, S, S) in [-1, 1]."""
        return self.generator(latents)

    def sample(
        self, label: int, n: int, generator: torch.Generator | None = None, *, temperature: float = 1.0
    ) -> Tensor:
        """``n`` new images (n, channels, S, S) in [-1, 1] of a class, decoded from N(mean_c, temperature^2 Sigma_c).

        A temperature below 1 gives more typical and less varied images. Raises ValueError for an unknown label.
        """
        self.statistics.check_label(label)
        mean = self.statistics.mean[label].float()
        noise = temperature * torch.randn(n, len(mean), generator=generator)
        latents = mean + noise @ self.statistics.factor(label, self.shrinkage).T
        return self.decode(latents.to(self.device))

    @classmethod
    def load(cls, directory: str | Path) -> "Artifact":
        """``from_pretrained`` without its options."""
        return cls.from_pretrained(directory)

    @classmethod
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
        """Load a bundled checkpoint, a directory or a repository of the Hugging Face Hub, checking everything.

        Loading draws nothing from any random generator.

        Args:
            checkpoint: a bundled name, a directory, or ``user/repo`` or ``user/repo@revision``; looked for in this
                order, so a directory ``user/repo`` wins over the Hub. A ``Path`` is always a directory.
            revision: of the Hub repository: a branch, a tag or the 40 digits of a commit, which alone never change.
            token: of the Hub (None: ``HF_TOKEN`` or what ``hf auth login`` stored; False: none).
            cache_dir: where downloads are kept (None: huggingface_hub's cache, which ``HF_HOME`` moves).
            local_files_only: use what was downloaded before and ask nothing; so does ``HF_HUB_OFFLINE=1``.
            force_download: download again, such as files that were damaged in the cache.

        Raises FileNotFoundError, with the reason, where there is no such checkpoint to be had, and ArtifactError for
        anything wrong with it. Where the Hub does not answer, what was downloaded before is used, with a UserWarning.
        """
        path = resolve(
            checkpoint, revision=revision, token=token, cache_dir=cache_dir, local_files_only=local_files_only,
            force_download=force_download,
        )  # fmt: skip
        config = _read_config(path / CONFIG)
        network = _network_config(path / CONFIG, config)
        with torch.device("meta"):
            encoder, generator = Encoder(network), Generator(network)
        tensors = _read_tensors(path, MODEL, _model_spec(encoder, generator), config)
        for prefix, module in (("encoder.", encoder), ("generator.", generator)):
            state = {
                name: tensors[prefix + name].float()
                if prefix + name in tensors
                else torch.zeros_like(value, device="cpu")
                for name, value in module.state_dict().items()
            }
            module.load_state_dict(state, assign=True)
        k, d = len(config["classes"]), network.latent_dim
        spec: Spec = {"count": ((k,), ("I64",)), "mean": ((k, d), ("F32",)), "covariance": ((k, d, d), ("F32",))}
        statistics = _read_tensors(path, STATISTICS, spec, config)
        if statistics["count"].tolist() != config["counts"]:
            raise ArtifactError(
                f"{path / STATISTICS}: count is {statistics['count'].tolist()}, {CONFIG} says {config['counts']}"
            )
        card = path / CARD
        return cls(
            encoder=encoder, generator=generator, network=network,
            statistics=ClassStatistics.from_tensors(statistics), classes=config["classes"],
            recommended=config["recommended"], reconstruction=config["reconstruction"],
            training=config["training"], directory=path.absolute(),
            card=card.read_text(encoding="utf-8", errors="replace") if card.is_file() else "",
        )  # fmt: skip

    def save(self, directory: str | Path, *, overwrite: bool = False, half: bool = False) -> Path:
        """Write the artifact; a crash at any moment leaves the old artifact or the new one, never half of one.

        ``half`` stores the networks in float16, and rounds those in memory alike. Files in an old artifact's directory
        that are no part of the format stay. Raises FileExistsError where ``directory`` exists and ``overwrite`` is
        False, ArtifactError for weights that are not finite (in float16, with ``half``), and OSError where the disk is
        full; an old artifact is then intact.
        """
        absolute = Path(directory).absolute()  # known now: the current directory itself may be replaced
        target = absolute.resolve()  # behind a link, which stays
        _restore(target)
        if target.exists() and not overwrite:
            raise FileExistsError(f"{target} exists; pass overwrite=True to replace it, or choose another directory")
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            if target.exists():  # the pictures of its card, and whatever else is there
                shutil.copytree(
                    target, temporary, dirs_exist_ok=True,
                    ignore=lambda folder, names: [name for name in names if Path(folder) == target and name in FILES],
                )  # fmt: skip
            self._write(temporary, half)
            temporary.chmod(0o755)  # mkdtemp's 0700 and safetensors' 0600 would lock other users out
            for file in (MODEL, STATISTICS):
                (temporary / file).chmod(0o644)
            old = previous(target)
            if target.exists():
                shutil.rmtree(old, ignore_errors=True)  # what a crash, or a file in use, left of the one before
                os.replace(target, old)
            os.replace(temporary, target)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            _restore(target)
        if half:  # so that what loads ``directory``, as workers do, computes the same
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
        """Upload the artifact, its card and the card's pictures to a Hub repository, made where there is none.

        The pictures are ``preview.png`` and ``samples.png`` in ``directory``; nothing else there is uploaded. An
        artifact without a card gets one with its classes and measured figures, unless the repository has one already.
        Networks that float16 holds exactly are stored so, as they were before they were loaded.

        Args:
            repo_id: ``user/repo``.
            private: make a new repository private (None: as the account's or organisation's settings say).
            tag: a new name for this state of the repository, such as "v1.0".
            license: for the card that is written, such as "apache-2.0" (None: "unknown").
            token: with write access (None: ``HF_TOKEN`` or what ``hf auth login`` stored).
            commit_message: what the commit says.

        Returns ``user/repo@commit``, which loads exactly this. Raises ValueError for ``license`` beside a card of the
        artifact's own, where ``private`` is asked for and the repository is public, and where the tag exists;
        PermissionError where the token may not write, and ConnectionError where the Hub cannot be reached or fails.
        """
        if license is not None and self.card:
            raise ValueError(
                f"license={license!r} is for a card yet to be written; this artifact's card states its own"
            )
        with tempfile.TemporaryDirectory() as temporary:
            self._write(Path(temporary), half=self._fits_half())
            files = {path.name: path for path in Path(temporary).iterdir()}
            pictures = {name: self.directory / name for name in PICTURES} if self.directory else {}
            pictures = {name: path for name, path in pictures.items() if path.is_file()}
            config = json.loads(files[CONFIG].read_text(encoding="utf-8"))
            return push(
                files | pictures, repo_id, card=model_card(repo_id, config, list(pictures), license or "unknown"),
                private=private, tag=tag, token=token, commit_message=commit_message,
            )  # fmt: skip

    def _fits_half(self) -> bool:
        values = [*self.encoder.state_dict().values(), *self.generator.state_dict().values()]
        return all(torch.equal(value.half().float(), value) for value in values if value.is_floating_point())

    def _write(self, directory: Path, half: bool) -> None:
        dtype = torch.float16 if half else torch.float32
        model = {
            f"{prefix}.{name}": value.detach().cpu().to(dtype).contiguous()
            for prefix, module in (("encoder", self.encoder), ("generator", self.generator))
            for name, value in module.state_dict().items()
            if value.is_floating_point()  # batch norm's counters of batches serve training alone
        }
        for name, tensors in ((MODEL, model), (STATISTICS, self.statistics.to_tensors())):
            _check_finite(directory / name, tensors)
            save_file(tensors, directory / name)
        if self.card:
            (directory / CARD).write_text(self.card, encoding="utf-8")
        config = {
            "format": FORMAT,
            "network": asdict(self.network),
            "image_size": self.network.image_size,
            "channels": self.network.channels,
            "classes": self.classes,
            "counts": self.statistics.count.tolist(),
            "recommended": self.recommended,
            "rank": None,
            "reconstruction": self.reconstruction,
            "training": self.training,
            "files": {name: _fingerprint(directory / name) for name in (MODEL, STATISTICS)},
        }
        text = json.dumps(config, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        (directory / CONFIG).write_text(text, encoding="utf-8")
        for path in [*directory.iterdir(), directory]:
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)


def _restore(target: Path) -> None:
    """Undo a replacement that was cut off between its two renames."""
    if not target.exists() and previous(target).exists():
        os.replace(previous(target), target)


def _fingerprint(path: Path) -> dict[str, int | str]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return {"bytes": path.stat().st_size, "sha256": digest.hexdigest()}


# --- Checks on load -------------------------------------------------------------------------------------------

Spec = dict[str, tuple[tuple[int, ...], tuple[str, ...]]]  # tensor name => shape, dtypes allowed


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        below = next((f"; did you mean {other.parent}?" for other in path.parent.glob(f"*/{CONFIG}")), "")
        raise ArtifactError(f"{path}: missing; a directory with {CONFIG}, {MODEL} and {STATISTICS} was expected{below}")
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise ArtifactError(f"{path}: {path.stat().st_size} bytes, expected at most {MAX_CONFIG_BYTES}")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path}: not JSON in UTF-8: {error}; {DOWNLOAD_AGAIN}") from error
    found = config.get("format") if isinstance(config, dict) else None
    if found != FORMAT:
        raise ArtifactError(f"{path}: format is {found!r}; this version understands {FORMAT!r}")
    types = {"network": dict, "classes": list, "counts": list, "recommended": dict, "reconstruction": dict,
             "training": dict, "files": dict, "image_size": int, "channels": int}  # fmt: skip
    for key, expected in types.items():
        if not isinstance(config.get(key), expected):
            raise ArtifactError(f"{path}: {key!r} is {config.get(key)!r:.80}, expected a {expected.__name__}")
    names, counts = config["classes"], config["counts"]
    if not names or not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
        raise ArtifactError(f"{path}: 'classes' must be one or more different names, got {names!r:.80}")
    if len(counts) != len(names) or not all(isinstance(n, int) and n >= 0 for n in counts):
        raise ArtifactError(f"{path}: 'counts' must be {len(names)} numbers of images, got {counts!r:.80}")
    if config.get("rank") is not None:
        raise ArtifactError(f"{path}: 'rank' is {config['rank']!r:.80}, expected null (a full covariance)")
    _check_recommended(path, config["recommended"])
    for key, value in config["reconstruction"].items():
        if not _number(value, 0, math.inf) or not math.isfinite(value):
            raise ArtifactError(f"{path}: reconstruction {key!r} is {value!r:.80}, expected a finite number >= 0")
    if len(config["reconstruction"].keys() & {"l1_mean", "l1_std"}) == 1:
        raise ArtifactError(f"{path}: 'reconstruction' has one of 'l1_mean' and 'l1_std', expected both or neither")
    return config


def _number(value: Any, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _check_recommended(path: Path, recommended: dict[str, Any]) -> None:
    checks = {
        "mode": (lambda v: v in MODES, f"one of {MODES}"),
        "p": (lambda v: _number(v, 0, 1), "a number in [0, 1]"),
        "strength": (lambda v: _number(v, 0, 1e6), "a number >= 0"),
        "shrinkage": (lambda v: v in ("oas", "pooled", None) or _number(v, 0, 1), '"oas", "pooled", null or in [0, 1]'),
    }
    for key, (valid, expected) in checks.items():
        if key not in recommended or not valid(recommended[key]):
            raise ArtifactError(f"{path}: recommended {key!r} is {recommended.get(key)!r:.80}, expected {expected}")


def _network_config(path: Path, config: dict[str, Any]) -> NetworkConfig:
    known = {f.name for f in fields(NetworkConfig)}
    if set(config["network"]) != known:
        raise ArtifactError(f"{path}: 'network' has {sorted(config['network'])}, expected {sorted(known)}")
    try:
        network = NetworkConfig(**config["network"])
    except ValueError as error:
        raise ArtifactError(f"{path}: 'network': {error}") from error
    for key in ("image_size", "channels"):
        if config[key] != getattr(network, key):
            raise ArtifactError(f"{path}: {key!r} is {config[key]}, 'network' says {getattr(network, key)}")
    return network


def _model_spec(encoder: nn.Module, generator: nn.Module) -> Spec:
    return {
        f"{prefix}.{name}": (tuple(value.shape), ("F16", "F32"))
        for prefix, module in (("encoder", encoder), ("generator", generator))
        for name, value in module.state_dict().items()
        if value.is_floating_point()
    }


def _read_tensors(directory: Path, name: str, spec: Spec, config: dict[str, Any]) -> dict[str, Tensor]:
    """Read a safetensors file that must hold exactly the tensors of ``spec``: header, then hash, then data."""
    path = directory / name
    if not path.is_file():
        raise ArtifactError(f"{path}: missing; {CONFIG} lists {sorted(config['files'])}")
    try:
        with safe_open(path, "pt") as file:  # maps the file and reads its header alone
            _check_header(path, file, spec)
            expected = config["files"].get(name)
            found = _fingerprint(path)
            if expected != found:
                raise ArtifactError(f"{path}: found {found}, {CONFIG} says {expected}; {DOWNLOAD_AGAIN}")
            tensors = {key: file.get_tensor(key) for key in spec}
    except (SafetensorError, OSError) as error:
        raise ArtifactError(f"{path}: not a safetensors file that can be read: {error}; {DOWNLOAD_AGAIN}") from error
    _check_finite(path, tensors)
    return tensors


def _check_finite(path: Path, tensors: dict[str, Tensor]) -> None:
    for name, value in tensors.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise ArtifactError(f"{path}: tensor {name!r} holds NaN or infinity, expected finite values")


def _check_header(path: Path, file: Any, spec: Spec) -> None:
    found = set(file.keys())
    for problem, names in (("lacks", set(spec) - found), ("has the unexpected", found - set(spec))):
        if names:
            raise ArtifactError(f"{path}: {problem} tensor {min(names)!r} ({len(names)} such in all)")
    for key, (shape, dtypes) in spec.items():
        tensor = file.get_slice(key)
        if tuple(tensor.get_shape()) != shape:
            raise ArtifactError(f"{path}: tensor {key!r} has shape {tensor.get_shape()}, expected {list(shape)}")
        if tensor.get_dtype() not in dtypes:
            raise ArtifactError(f"{path}: tensor {key!r} is {tensor.get_dtype()}, expected {' or '.join(dtypes)}")
