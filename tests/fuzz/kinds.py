"""The kinds of files that the package reads: how to make a valid one, how to read it, how it may be refused."""

import argparse
import contextlib
import dataclasses
import functools
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from semantic_aug import Artifact, ArtifactError, LatentCache
from semantic_aug._files import DIGEST, FileError
from semantic_aug._io import save_with_digest
from semantic_aug.cli import expand
from semantic_aug.cli.options import options_of
from semantic_aug.data.cache import read_cache, write_cache
from semantic_aug.data.dataset import load_data, load_folder
from semantic_aug.data.folder import open_folder
from semantic_aug.data.source import DataError
from semantic_aug.evaluation.classifier import Judge, JudgeError
from semantic_aug.expansion.run import differing
from semantic_aug.functional import semantic_augment_image
from semantic_aug.latents import LatentsError
from semantic_aug.model.format import _fingerprint
from semantic_aug.model.networks import PRESETS
from semantic_aug.model.runtime import LatentModel
from semantic_aug.trainer.config import TrainConfig
from semantic_aug.trainer.state import StateError, TrainState
from tests.conftest import CLASSES, build_artifact, build_judge, write_folder
from tests.fuzz.mutations import metadata_of

Found = dict[str, Tensor]


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of file.

    Args:
        make: writes a valid example, one or more files, into an empty folder.
        read: reads the folder as the package does => what was found. Floats must be finite.
        refusals: the errors that ``read`` documents. Their messages must name a file of the folder.
        guarded: the files whose content a hash or check sum protects, as a pattern of paths. After a mutation of them,
            ``read`` must refuse or find what it found before. Other files may be changed into other valid ones.
        seal: makes the hashes of a mutated file right again, so that what is tested are the checks behind them.
        mutated: pattern of the files that are mutated.
    """

    make: Callable[[Path], object]
    read: Callable[[Path], Found]
    refusals: tuple[type[Exception], ...]
    guarded: str = "no file"
    seal: Callable[[Path], object] | None = None
    mutated: str = "**/*"


# --- Artifacts --------------------------------------------------------------------------------------------------


def read_artifact(folder: Path) -> Found:
    """What an artifact makes of images."""
    artifact = Artifact.from_pretrained(folder)
    try:
        model = LatentModel.of(artifact)
    except ValueError as error:
        if "no class has two images" not in str(error):
            raise
        raise ArtifactError(f"{folder}: {error}") from error
    network = artifact.network
    images = torch.rand(2, network.channels, network.image_size, network.image_size, generator=torch.Generator())
    noise = torch.randn(2, network.latent_dim, generator=torch.Generator().manual_seed(1))
    labels = torch.zeros(2, dtype=torch.int64)
    return {mode: semantic_augment_image(images, noise, model, labels, mode=mode) for mode in ("decode", "detail")}


def seal_artifact(path: Path) -> None:
    """Enter the hash of a file into ``config.json``."""
    target = path.parent / "config.json"
    if not target.is_file():
        raise FileNotFoundError(target)  # another mutation has put a pipe or an endless device in its place
    config = json.loads(target.read_text())
    config["files"][path.name] = _fingerprint(path)
    target.write_text(json.dumps(config))


# --- Files with a digest ----------------------------------------------------------------------------------------


def seal_digest(path: Path) -> None:
    """Make the digest in a safetensors file right."""
    tensors = {name: value.clone() for name, value in load_file(path).items() if name != DIGEST}
    save_with_digest(tensors, path, metadata_of(path.read_bytes()))


CONFIG = TrainConfig(network=dataclasses.replace(PRESETS["tiny"], num_classes=2), images=100, data={"a": 3, "c": 2})


def read_state(folder: Path) -> Found:
    state = TrainState(CONFIG, torch.device("cpu"))
    if not state.resume(folder, CONFIG):
        raise AssertionError("a state is taken for none")
    return state._tensors() | {"images_seen": torch.tensor(state.images_seen)}


@functools.cache
def artifact() -> Artifact:
    return build_artifact()


@functools.cache
def images() -> Tensor:
    return torch.rand(20, 1, 32, 32, generator=torch.Generator().manual_seed(0))


def read_judge(folder: Path) -> Found:
    return {"logits": Judge.load(folder / "judge.safetensors").logits(images()[:4] * 2 - 1)}


def read_latents(folder: Path) -> Found:
    cache = LatentCache.load(folder / "latents.safetensors", artifact(), images())
    return {"mu": cache.mu} | ({} if cache.reconstruction is None else {"reconstruction": cache.reconstruction})


PIXELS = torch.randint(0, 256, (9, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
CACHE = "images-0.safetensors"


def read_images(folder: Path) -> Found:
    found = read_cache(folder / CACHE, 10, 1, 16)
    if found is None:
        raise FileError(f"{folder / CACHE}: is not used")
    return {"images": found[0], "kept": found[1]}


# --- Expanded data sets -----------------------------------------------------------------------------------------


def make_expanded(folder: Path, layout: str = "folder", *, finished: bool = True) -> None:
    """An expanded folder, with its checkpoint and its originals beside it."""
    if not (folder.parent / "saved").exists():
        artifact().save(folder.parent / "saved")
        write_folder(folder.parent / "faces", 2)
    read_expanded(folder, layout)
    if not finished:  # as if it had been killed just before the end
        (folder / ".expand").mkdir()
        (folder / "manifest.jsonl").rename(folder / ".expand" / "lines-0.jsonl")


def read_expanded(folder: Path, layout: str = "folder") -> Found:
    """All files, after the run has been repeated. Of JSON its content, because white space means nothing."""
    parser = argparse.ArgumentParser()
    expand.add_options(options_of(parser))
    command = [folder.parent / "saved", folder.parent / "faces", "--output", folder, "--per-class", 4, "--device=cpu"]
    options = parser.parse_args([*map(str, command), "--format", layout, "--originals", "png"])
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        expand.run(options)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    contents = {
        str(path.relative_to(folder)): json.dumps(json.loads(path.read_bytes())).encode()
        if path.suffix == ".json"
        else path.read_bytes()
        for path in files
    }
    return {name: torch.tensor([*content], dtype=torch.uint8) for name, content in contents.items()}


def read_manifest(folder: Path) -> Found:
    """How many images are not what the manifest makes."""
    return {"differing": torch.tensor(len(differing(folder, artifact(), 3)))}


def expanded(layout: str, finished: bool) -> Kind:
    """What is read when a run is repeated. No hash protects the originals in it, with or without shards."""
    return Kind(
        lambda folder: make_expanded(folder, layout, finished=finished),
        lambda folder: read_expanded(folder, layout),
        (ValueError, OSError),
        guarded="**/[aelm]*.*",
        mutated="**/[aelms]*.*",
    )


# --- Data sets --------------------------------------------------------------------------------------------------


def read_data(spec: str | Path) -> Found:
    data = load_data(spec, 1, 16)
    return {"images": data.images, "labels": data.labels}


def make_fer2013(folder: Path) -> None:
    draw = np.random.default_rng(0)
    rows = [f"{number % 7},{' '.join(map(str, draw.integers(0, 256, 48 * 48)))},Training" for number in range(8)]
    (folder / "fer2013.csv").write_text("\n".join(["emotion,pixels,Usage", *rows]))


def make_affectnet(folder: Path, *, table: bool) -> None:
    """The published layout with a table, or the one with an annotation for each image."""
    place = folder if table else folder / "train_set" / "images"
    place.mkdir(parents=True, exist_ok=True)
    for number in range(4):
        Image.fromarray(PIXELS[number, 0].numpy()).save(place / f"{number}.jpg")
    if table:
        header = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression"
        rows = [f"{number}.jpg,0,0,16,16,,{number % 3}" for number in range(4)]
        (folder / "training.csv").write_text("\n".join([header, *rows]))
    else:
        (folder / "train_set" / "annotations").mkdir()
        for number in range(4):
            np.save(folder / "train_set" / "annotations" / f"{number}_exp.npy", np.array(str(number % 3)))


def make_rafdb(folder: Path) -> None:
    (folder / "EmoLabel").mkdir()
    (folder / "Image" / "aligned").mkdir(parents=True)
    lines = [f"train_{number:05d}.jpg {number % 7 + 1}" for number in range(4)]
    (folder / "EmoLabel" / "list_patition_label.txt").write_text("\n".join(lines))
    for number in range(4):
        Image.fromarray(PIXELS[number, 0].numpy()).save(folder / "Image/aligned" / f"train_{number:05d}_aligned.jpg")


def make_saved(folder: Path) -> None:
    """A folder written by the package datasets."""
    import datasets

    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    rows = {"image": [Image.fromarray(each[0].numpy()) for each in PIXELS[:4]], "label": [0, 1, 0, 1]}
    datasets.Dataset.from_dict(rows, features).save_to_disk(str(folder))


def picture(suffix: str, mode: str = "L", **options: object) -> Kind:
    """An image of a class folder, read with the size of a network and as it is."""

    def make(folder: Path) -> None:
        (folder / "cat").mkdir()
        pixels = torch.nn.functional.interpolate(PIXELS[:1].float(), size=(24, 24), mode="bilinear").byte()[0, 0]
        Image.fromarray(pixels.numpy()).convert(mode).save(folder / "cat" / f"picture.{suffix}", **options)

    def read(folder: Path) -> Found:
        found = {"images": load_folder(folder, 1, 16).images}
        return found | {"whole": open_folder(folder).read(0, None, None)}

    return Kind(make, read, (DataError,), guarded="**/*.png")


def state_of(folder: Path) -> None:
    from tests.trainer.test_state import stepped

    stepped(CONFIG).save(folder, CONFIG)


def data(make: Callable[[Path], object], spec: str, mutated: str) -> Kind:
    return Kind(make, lambda folder: read_data(spec.format(folder)), (DataError,), mutated=mutated)


SAFETENSORS = "*.safetensors"
KINDS = {
    "artifact": Kind(
        lambda folder: build_artifact().save(folder, overwrite=True),
        read_artifact,
        (ArtifactError,),
        guarded=SAFETENSORS,
        seal=seal_artifact,
    ),
    "conditional artifact": Kind(
        lambda folder: build_artifact(conditional=True).save(folder, overwrite=True),
        read_artifact,
        (ArtifactError,),
        guarded=SAFETENSORS,
        seal=seal_artifact,
    ),
    "run state": Kind(state_of, read_state, (StateError,), guarded=SAFETENSORS, seal=seal_digest),
    "judge": Kind(
        lambda folder: build_judge(CLASSES, 9).save(folder / "judge.safetensors"),
        read_judge,
        (JudgeError, FileNotFoundError),
        guarded=SAFETENSORS,
        seal=seal_digest,
    ),
    "latent cache": Kind(
        lambda folder: LatentCache.build(folder / "latents.safetensors", artifact(), images(), reconstructions=True),
        read_latents,
        (LatentsError, FileNotFoundError),
        guarded=SAFETENSORS,
        seal=seal_digest,
    ),
    "cache of images": Kind(
        lambda folder: write_cache(folder / CACHE, PIXELS, torch.arange(9)),
        read_images,
        (FileError,),
        guarded=SAFETENSORS,
        seal=seal_digest,
    ),
    "expanded folder": expanded("folder", finished=True),
    "expanded folder, begun": expanded("folder", finished=False),
    "expanded shards": expanded("webdataset", finished=True),
    "manifest of a folder": Kind(make_expanded, read_manifest, (ValueError, OSError)),
    "manifest of shards": Kind(
        lambda folder: make_expanded(folder, "webdataset"), read_manifest, (ValueError, OSError)
    ),
    "fer2013.csv": data(make_fer2013, "{}/fer2013.csv", "*.csv"),
    "table of AffectNet": data(lambda folder: make_affectnet(folder, table=True), "affectnet:8@{}", "*.csv"),
    "npy of AffectNet": data(lambda folder: make_affectnet(folder, table=False), "affectnet:8@{}", "**/*.npy"),
    "list of RAF-DB": data(make_rafdb, "rafdb:basic@{}", "**/*.txt"),
    "folder of datasets": data(make_saved, "{}", "*"),
    "PNG": picture("png"),
    "PNG, palette": picture("png", "P"),
    "JPEG": picture("jpg"),
    "WebP": picture("webp", "RGB"),
    "BMP": picture("bmp"),
    "GIF": picture("gif"),
    "TIFF": picture("tif"),
    "TIFF, LZW": picture("tif", "RGB", compression="tiff_lzw"),
    "TGA": picture("tga"),
    "PPM": picture("ppm", "RGB"),
    "JPEG 2000": picture("jp2"),
    "AVIF": picture("avif", "RGB"),
}
