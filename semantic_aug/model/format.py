"""An artifact's files: reading them with all checks, and writing them so that a crash leaves the old ones intact.

``docs/method.md`` specifies the formats of ``config.json``, ``model.safetensors``, ``statistics.safetensors`` and
``README.md``. Format 2 is format 1 with a G that is conditional on the class, or with a latent that is a map. Any other
artifact is written as format 1.

Nothing in an artifact is executable or pickled. The header of a file is checked before memory is allocated for it.
"""

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
from safetensors.torch import save_file
from torch import Tensor, nn

from semantic_aug._files import (
    FileError,
    Spec,
    check_finite,
    check_header,
    open_tensors,
    raising,
    read_bytes,
    read_json,
    sha256_of,
)
from semantic_aug._io import in_turn, workplace
from semantic_aug._text import is_utf8, shorten
from semantic_aug.model.hub import CARD, CONFIG, MODEL, STATISTICS, previous
from semantic_aug.model.networks import NO_LABEL, OPTIONAL, Encoder, Generator, NetworkConfig
from semantic_aug.model.recommended import Recommended
from semantic_aug.model.statistics import MAX_COUNT, MAX_LATENT, ClassStatistics, problems

FORMAT, SECOND_FORMAT = "semantic-aug/1", "semantic-aug/2"
FILES = (CONFIG, MODEL, STATISTICS, CARD)
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


@raising(ArtifactError)
def read_config(directory: Path) -> Config:
    """Read and check ``config.json``. Raises ArtifactError for anything wrong with it."""
    path = directory / CONFIG
    config = _read_config(path)
    _check_types(path, config)
    try:
        recommended = Recommended(**config["recommended"])
    except (TypeError, ValueError) as error:
        names = [field.name for field in fields(Recommended)]
        raise ArtifactError(f"{path}: 'recommended' must have {names}: {shorten(error)}") from error
    return Config(
        network=_network_config(path, config),
        classes=config["classes"],
        counts=config["counts"],
        recommended=recommended,
        reconstruction=config["reconstruction"],
        training=config["training"],
        files=config["files"],
    )


@raising(ArtifactError)
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


@raising(ArtifactError)
def read_statistics(directory: Path, config: Config) -> ClassStatistics:
    """Read the statistics of each class's latents. Raises ArtifactError for anything wrong with their file."""
    k, d = len(config.classes), config.network.latent_dim
    spec: Spec = {"count": ((k,), ("I64",)), "mean": ((k, d), ("F32",)), "covariance": ((k, d, d), ("F32",))}
    tensors = _read_tensors(directory, STATISTICS, spec, config)
    if tensors["count"].tolist() != config.counts:
        found = tensors["count"].tolist()
        raise ArtifactError(f"{directory / STATISTICS}: count is {found!r:.80}, {CONFIG} says {config.counts!r:.80}")
    _check_moments(directory / STATISTICS, tensors)
    return ClassStatistics.from_tensors(tensors)


@raising(ArtifactError)
def read_card(directory: Path) -> str:
    """The text of the model card, empty if there is none. Raises ArtifactError if it is not a file of the artifact."""
    card = own_file(directory, CARD)
    try:
        return "" if card is None else read_bytes(card).decode("utf-8", errors="replace")
    except FileNotFoundError:  # another process has moved it away
        return ""


def own_file(directory: Path, name: str) -> Path | None:
    """A file of a directory that may be shown or pushed, or None if there is none.

    Raises ArtifactError for a link out of the directory, which would show somebody's other file. In the Hub's cache,
    files are links to the blobs of their own repository.
    """
    path = directory / name
    if not path.exists():
        return None
    real, folder = path.resolve(), directory.resolve()
    blobs = folder.parents[1] / "blobs" if folder.parent.name == "snapshots" else folder
    if not (real.is_relative_to(folder) or real.is_relative_to(blobs)):
        raise ArtifactError(f"{path}: is a link to {real}, expected a file in this directory")
    return path


def version(directory: Path) -> tuple[int, int] | None:
    """What changes when another process replaces the artifact, or None while it is not there."""
    try:
        found = os.stat(directory / CONFIG)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


@torch.no_grad()
def check_outputs(
    directory: Path, config: Config, encoder: Encoder, generator: Generator, statistics: ClassStatistics
) -> None:
    """Raise ArtifactError unless E's latent of a white image and G's images of three latents are finite.

    Weights may each be finite and still overflow, also on other images, so the latent must not be huge either. The
    three latents are the mean of the class that varies most and, at the recommended strength, three standard deviations
    to both sides of it. A conditional G decodes them without a label and with that of the class whose weights are the
    largest.
    """
    network = config.network
    white = statistics.mean.new_ones(1, network.channels, network.image_size, network.image_size)
    mu, _ = encoder(white.float())
    variances = statistics.scatter.diagonal(dim1=1, dim2=2) / statistics.count.clamp(min=1)[:, None]
    label = int(variances.sum(1).argmax())
    mean, step = statistics.mean[label], 3 * (config.recommended.strength * variances[label]).sqrt()
    latents, labels = torch.stack([mean, mean - step, mean + step]).float(), torch.full((3,), NO_LABEL, device="cpu")
    if generator.num_classes:
        modulations = (module.weight for name, module in generator.named_modules() if name.endswith("modulation"))
        columns = torch.cat([weight[:, network.latent_dim :] for weight in modulations])
        latents, labels = latents.repeat(2, 1), torch.cat([labels, columns.abs().amax(0).argmax().expand(3)])
    image = generator(latents, labels)
    if not mu.abs().max() <= MAX_LATENT:
        largest = float(mu.abs().max())
        raise ArtifactError(
            f"{directory / MODEL}: encodes a white image to values of {largest:.3g}: the weights are damaged"
        )
    if not image.isfinite().all():
        raise ArtifactError(f"{directory / MODEL}: a decoded latent holds NaN or infinity: the weights are damaged")


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
    _check_utf8(CONFIG, config)
    model = {
        f"{prefix}.{name}": value.detach().cpu().to(dtype).contiguous()
        for prefix, module in networks.items()
        for name, value in module.state_dict().items()
        if value.is_floating_point()  # batch norm's counters are needed only for training
    }
    moments = statistics.to_tensors()
    with raising(ArtifactError):
        check_finite(MODEL, model)
        check_finite(STATISTICS, moments)
    _check_moments(STATISTICS, moments)
    for name, tensors in ((MODEL, model), (STATISTICS, moments)):
        save_file(tensors, directory / name)
    if card:
        (directory / CARD).write_text(card, encoding="utf-8", errors="replace")
    files = {name: _fingerprint(directory / name) for name in (MODEL, STATISTICS)}
    second = any(name in config["network"] for name in OPTIONAL)
    content = {"format": SECOND_FORMAT if second else FORMAT} | dict(config) | {"files": files}
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    (directory / CONFIG).write_text(text, encoding="utf-8")
    for path in [*(path for path in directory.iterdir() if not path.is_symlink()), directory]:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def replace_directory(target: Path, write: Callable[[Path], None], *, overwrite: bool) -> None:
    """Write an artifact to a directory beside ``target`` and rename it, so that a crash leaves the old or the new one.

    ``write`` fills the new directory. Files in the old one that are not part of the format are kept. Raises
    FileExistsError if ``target`` exists and ``overwrite`` is False.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with in_turn(target.parent):
        _restore(target)
    _refuse(target, overwrite)
    try:
        with workplace(target) as place:
            new, old = place / "new", previous(target)
            new.mkdir()
            if target.exists():  # keep the pictures of its card and any other files
                _copy_others(target, new)
            write(new)
            for file in (MODEL, STATISTICS):
                (new / file).chmod(0o644)  # safetensors writes 0600, which would lock other users out
            with in_turn(target.parent):
                _refuse(target, overwrite)  # another process may have written it meanwhile
                if target.exists():
                    shutil.rmtree(old, ignore_errors=True)  # left by a crash, or by a file in use
                    os.replace(target, old)
                os.replace(new, target)
                shutil.rmtree(old, ignore_errors=True)
    finally:
        with in_turn(target.parent):
            _restore(target)


def _refuse(target: Path, overwrite: bool) -> None:
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists; pass overwrite=True to replace it, or choose another directory")


def _copy_others(target: Path, new: Path) -> None:
    """Copy what is not part of the format. ``copytree`` has a list of errors as its text, so the first is raised."""
    errors = []

    def copy(source: str, copied: str) -> str:
        try:
            return shutil.copy2(source, copied)
        except OSError as error:
            errors.append(error)
            raise

    try:
        shutil.copytree(target, new, symlinks=True, dirs_exist_ok=True, ignore=_ignored(target), copy_function=copy)
    except shutil.Error as error:
        raise errors[0] if errors else error from error


def _ignored(target: Path) -> Callable[[str, list[str]], list[str]]:
    """For ``copytree``: the files of the format at the top of ``target``, which are written again, and special files.

    To copy a named pipe would wait for ever. Links are copied as links, wherever they lead.
    """

    def ignore(folder: str, names: list[str]) -> list[str]:
        own = FILES if Path(folder) == target else ()
        paths = {name: Path(folder, name) for name in names}
        return [name for name, path in paths.items() if name in own or not (path.is_symlink() or _is_plain(path))]

    return ignore


def _is_plain(path: Path) -> bool:
    return path.is_file() or path.is_dir()


def _restore(target: Path) -> None:
    """Undo a replacement that was interrupted between its two renames."""
    if not target.exists() and previous(target).exists():
        with suppress(FileNotFoundError):  # another process did it
            os.replace(previous(target), target)


def _fingerprint(path: Path) -> dict[str, int | str]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": sha256_of(file)}


# --- Checks -----------------------------------------------------------------------------------------------------


def _read_config(path: Path) -> dict[str, Any]:
    if not path.exists():
        below = next((f"; did you mean {other.parent}?" for other in path.parent.glob(f"*/{CONFIG}")), "")
        raise ArtifactError(f"{path}: missing; a directory with {CONFIG}, {MODEL} and {STATISTICS} was expected{below}")
    try:
        config = read_json(path)
    except (FileError, OSError) as error:  # OSError: another process has moved it away
        raise ArtifactError(f"{error}; {DOWNLOAD_AGAIN}") from error
    found = config.get("format")
    if found not in (FORMAT, SECOND_FORMAT):
        raise ArtifactError(f"{path}: format is {found!r:.80}; {_format_advice(found)}")
    return config


def _format_advice(found: Any) -> str:
    understood = f"this one understands {FORMAT!r} and {SECOND_FORMAT!r}"
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
    _check_utf8(path, config)
    names, counts = config["classes"], config["counts"]
    if not names or not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
        raise ArtifactError(f"{path}: 'classes' must be one or more different names, got {names!r:.80}")
    if len(counts) != len(names) or not all(_number(n, 0, MAX_COUNT) for n in counts):
        raise ArtifactError(f"{path}: 'counts' must be {len(names)} numbers of images, got {counts!r:.80}")
    if config.get("rank") is not None:
        raise ArtifactError(f"{path}: 'rank' is {config['rank']!r:.80}, expected null (a full covariance)")
    for key, value in config["reconstruction"].items():
        if not _number(value, 0, math.inf) or not math.isfinite(value):
            raise ArtifactError(f"{path}: reconstruction {key!r:.80} is {value!r:.80}, expected a finite number >= 0")
    for mean, std in (("l1_mean", "l1_std"), ("lpips_mean", "lpips_std")):
        if len(config["reconstruction"].keys() & {mean, std}) == 1:
            raise ArtifactError(f"{path}: 'reconstruction' has one of {mean!r} and {std!r}, expected both or neither")
    for name, value in config["files"].items():
        if not isinstance(value, dict) or value.keys() != {"bytes", "sha256"}:
            raise ArtifactError(f"{path}: file {name!r:.80} is {value!r:.80}, expected its 'bytes' and 'sha256'")


def _check_moments(path: str | Path, tensors: Mapping[str, Tensor]) -> None:
    for problem in problems(tensors):
        raise ArtifactError(f"{path}: {problem}")


def _check_utf8(path: str | Path, config: Mapping[str, Any]) -> None:
    text = json.dumps(dict(config), ensure_ascii=False)
    if not is_utf8(text):
        wrong = next(name for name in re.findall(r'"[^"]*"', text) if not is_utf8(name))
        raise ArtifactError(f"{path}: the text {wrong!r:.80} is not UTF-8, so it cannot be stored; rename it")


def _number(value: Any, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _network_config(path: Path, config: dict[str, Any]) -> NetworkConfig:
    found, known = set(config["network"]), {f.name for f in fields(NetworkConfig)} - set(OPTIONAL)
    second = config["format"] == SECOND_FORMAT
    if found - set(OPTIONAL) != known or bool(found & set(OPTIONAL)) != second:
        more = f" and {' or '.join(OPTIONAL)}" if second else ""
        raise ArtifactError(f"{path}: 'network' has {sorted(found)!r:.200}, expected {sorted(known)}{more}")
    try:
        network = NetworkConfig(**config["network"])
    except ValueError as error:
        raise ArtifactError(f"{path}: 'network': {error}") from error
    if "num_classes" in found and network.num_classes != len(config["classes"]):
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
    if not path.exists():
        raise ArtifactError(f"{path}: missing; {CONFIG} lists {sorted(config.files)!r:.80}")
    with open_tensors(path) as file:  # maps the file and reads only its header
        check_header(path, file, spec)
        expected, found = config.files.get(name), _fingerprint(path)
        if expected != found:
            raise ArtifactError(f"{path}: found {found}, {CONFIG} says {expected!r:.120}; {DOWNLOAD_AGAIN}")
        tensors = {key: file.get_tensor(key) for key in spec}
    check_finite(path, tensors)
    return tensors
