"""An artifact's files: reading them with all checks, and writing them so that a crash leaves the old ones intact.

The README specifies the formats of ``config.json``, ``model.safetensors``, ``statistics.safetensors`` and
``README.md``. Format 2 is format 1 with a G that is conditional on the class. An unconditional artifact is written as
format 1.

Nothing in an artifact is executable or pickled. The header of a file is checked before memory is allocated for it.
"""

import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from semantic_aug._io import workplace
from semantic_aug.model.hub import CARD, CONFIG, MODEL, STATISTICS, previous
from semantic_aug.model.networks import Encoder, Generator, NetworkConfig
from semantic_aug.model.recommended import Recommended
from semantic_aug.model.statistics import ClassStatistics

FORMAT, CONDITIONAL_FORMAT = "semantic-aug/1", "semantic-aug/2"
FILES = (CONFIG, MODEL, STATISTICS, CARD)
MAX_CONFIG_BYTES = 16 << 20
DOWNLOAD_AGAIN = "download it again (from the Hub: Artifact.from_pretrained(..., force_download=True))"


class ArtifactError(ValueError):
    """An artifact cannot be used. The message names the file, what was found and what was expected."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """The checked content of ``config.json``: everything in an artifact except its tensors and its card."""

    network: NetworkConfig
    classes: list[str]
    counts: list[int]
    recommended: Recommended
    reconstruction: dict[str, float]
    training: dict[str, Any]
    files: dict[str, Any]


# --- Reading ----------------------------------------------------------------------------------------------------


def read_config(directory: Path) -> Config:
    """Read and check ``config.json``. Raises ArtifactError for anything wrong with it."""
    path = directory / CONFIG
    config = _read_json(path)
    _check_types(path, config)
    try:
        recommended = Recommended(**config["recommended"])
    except (TypeError, ValueError) as error:
        names = [field.name for field in fields(Recommended)]
        raise ArtifactError(f"{path}: 'recommended' must have {names}: {error}") from error
    return Config(
        network=_network_config(path, config),
        classes=config["classes"],
        counts=config["counts"],
        recommended=recommended,
        reconstruction=config["reconstruction"],
        training=config["training"],
        files=config["files"],
    )


def read_networks(directory: Path, config: Config) -> tuple[Encoder, Generator]:
    """Read E and G in float32 on the CPU. Raises ArtifactError for anything wrong with their file."""
    with torch.device("meta"):
        encoder, generator = Encoder(config.network), Generator(config.network)
    tensors = _read_tensors(directory, MODEL, _model_spec(encoder, generator), config)
    for prefix, module in (("encoder.", encoder), ("generator.", generator)):
        state = {
            name: tensors[prefix + name].float() if prefix + name in tensors else torch.zeros_like(value, device="cpu")
            for name, value in module.state_dict().items()
        }
        module.load_state_dict(state, assign=True)
    return encoder, generator


def read_statistics(directory: Path, config: Config) -> ClassStatistics:
    """Read the statistics of each class's latents. Raises ArtifactError for anything wrong with their file."""
    k, d = len(config.classes), config.network.latent_dim
    spec: Spec = {"count": ((k,), ("I64",)), "mean": ((k, d), ("F32",)), "covariance": ((k, d, d), ("F32",))}
    tensors = _read_tensors(directory, STATISTICS, spec, config)
    if tensors["count"].tolist() != config.counts:
        raise ArtifactError(
            f"{directory / STATISTICS}: count is {tensors['count'].tolist()}, {CONFIG} says {config.counts}"
        )
    return ClassStatistics.from_tensors(tensors)


def read_card(directory: Path) -> str:
    """The text of the model card, empty if there is none."""
    card = directory / CARD
    return card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""


# --- Writing ----------------------------------------------------------------------------------------------------


def write_files(
    directory: Path,
    config: Mapping[str, Any],
    networks: Mapping[str, nn.Module],
    statistics: ClassStatistics,
    card: str,
    *,
    half: bool,
) -> None:
    """Write all files into ``directory`` and wait until they are on disk.

    ``config`` is the content of ``config.json`` without the format and the fingerprints of the files. ``networks`` have
    the names "encoder" and "generator". Raises ArtifactError for weights that are not finite (in float16, with
    ``half``).
    """
    dtype = torch.float16 if half else torch.float32
    model = {
        f"{prefix}.{name}": value.detach().cpu().to(dtype).contiguous()
        for prefix, module in networks.items()
        for name, value in module.state_dict().items()
        if value.is_floating_point()  # batch norm's counters are needed only for training
    }
    for name, tensors in ((MODEL, model), (STATISTICS, statistics.to_tensors())):
        _check_finite(directory / name, tensors)
        save_file(tensors, directory / name)
    if card:
        (directory / CARD).write_text(card, encoding="utf-8")
    files = {name: _fingerprint(directory / name) for name in (MODEL, STATISTICS)}
    conditional = "num_classes" in config["network"]
    content = {"format": CONDITIONAL_FORMAT if conditional else FORMAT} | dict(config) | {"files": files}
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    (directory / CONFIG).write_text(text, encoding="utf-8")
    for path in [*directory.iterdir(), directory]:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def replace_directory(target: Path, write: Callable[[Path], None], *, overwrite: bool) -> None:
    """Write an artifact to a directory beside ``target`` and rename it, so that a crash leaves the old or the new one.

    ``write`` fills the new directory. Files in the old one that are not part of the format are kept. Raises
    FileExistsError if ``target`` exists and ``overwrite`` is False.
    """
    _restore(target)
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists; pass overwrite=True to replace it, or choose another directory")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with workplace(target) as place:
            new, old = place / "new", previous(target)
            new.mkdir()
            if target.exists():  # keep the pictures of its card and any other files
                shutil.copytree(target, new, dirs_exist_ok=True, ignore=_own_files(target))
            write(new)
            for file in (MODEL, STATISTICS):
                (new / file).chmod(0o644)  # safetensors writes 0600, which would lock other users out
            if target.exists():
                shutil.rmtree(old, ignore_errors=True)  # left by a crash, or by a file in use
                os.replace(target, old)
            os.replace(new, target)
            shutil.rmtree(old, ignore_errors=True)
    finally:
        _restore(target)


def _own_files(target: Path) -> Callable[[str, list[str]], list[str]]:
    """For ``copytree``: ignore the files of the format at the top of ``target``, because they are written again."""
    return lambda folder, names: [name for name in names if Path(folder) == target and name in FILES]


def _restore(target: Path) -> None:
    """Undo a replacement that was interrupted between its two renames."""
    if not target.exists() and previous(target).exists():
        with suppress(FileNotFoundError):  # another process did it
            os.replace(previous(target), target)


def _fingerprint(path: Path) -> dict[str, int | str]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return {"bytes": path.stat().st_size, "sha256": digest.hexdigest()}


# --- Checks -----------------------------------------------------------------------------------------------------

Spec = dict[str, tuple[tuple[int, ...], tuple[str, ...]]]  # tensor name => shape, dtypes allowed


def _read_json(path: Path) -> dict[str, Any]:
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
    if found not in (FORMAT, CONDITIONAL_FORMAT):
        raise ArtifactError(f"{path}: format is {found!r:.80}; {_format_advice(found)}")
    return config


def _format_advice(found: Any) -> str:
    understood = f"this one understands {FORMAT!r} and {CONDITIONAL_FORMAT!r}"
    if isinstance(found, str) and re.fullmatch(r"semantic-aug/\d{1,9}", found):
        return f"a newer version of semantic-aug is needed ({understood}): pip install --upgrade semantic-aug"
    return f"it was not written by semantic-aug ({understood})"


def _check_types(path: Path, config: dict[str, Any]) -> None:
    types = {
        "network": dict,
        "classes": list,
        "counts": list,
        "recommended": dict,
        "reconstruction": dict,
        "training": dict,
        "files": dict,
        "image_size": int,
        "channels": int,
    }
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
    for key, value in config["reconstruction"].items():
        if not _number(value, 0, math.inf) or not math.isfinite(value):
            raise ArtifactError(f"{path}: reconstruction {key!r} is {value!r:.80}, expected a finite number >= 0")
    if len(config["reconstruction"].keys() & {"l1_mean", "l1_std"}) == 1:
        raise ArtifactError(f"{path}: 'reconstruction' has one of 'l1_mean' and 'l1_std', expected both or neither")


def _number(value: Any, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _network_config(path: Path, config: dict[str, Any]) -> NetworkConfig:
    known = {f.name for f in fields(NetworkConfig)}
    if config["format"] == FORMAT:
        known.remove("num_classes")
    if set(config["network"]) != known:
        raise ArtifactError(f"{path}: 'network' has {sorted(config['network'])}, expected {sorted(known)}")
    try:
        network = NetworkConfig(**config["network"])
    except ValueError as error:
        raise ArtifactError(f"{path}: 'network': {error}") from error
    if config["format"] == CONDITIONAL_FORMAT and network.num_classes != len(config["classes"]):
        raise ArtifactError(
            f"{path}: 'network' is conditional on {network.num_classes} classes, expected {len(config['classes'])}, "
            f"as 'classes' has"
        )
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


def _read_tensors(directory: Path, name: str, spec: Spec, config: Config) -> dict[str, Tensor]:
    """Read a safetensors file that must hold exactly the tensors of ``spec``.

    The header is checked first, then the hash, and then the data is read.
    """
    path = directory / name
    if not path.is_file():
        raise ArtifactError(f"{path}: missing; {CONFIG} lists {sorted(config.files)}")
    try:
        with safe_open(path, "pt") as file:  # maps the file and reads only its header
            _check_header(path, file, spec)
            expected = config.files.get(name)
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
