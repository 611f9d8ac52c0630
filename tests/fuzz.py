"""Fuzzer of artifacts that knows their structure: ``python -m tests.fuzz 10000 --seed 0``.

Each mutation changes a value of ``config.json``, or tensors, and makes the hashes right again, so that what is tested
are the checks behind them. An artifact must either be refused with an ArtifactError of a few words, or augment to
finite images. The table of outcomes is printed, with the peak memory of the process.
"""

import argparse
import json
import random
import resource
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from semantic_aug import Artifact, ArtifactError
from semantic_aug.functional import semantic_augment_image
from semantic_aug.model.format import _fingerprint
from semantic_aug.model.runtime import LatentModel
from tests.conftest import build_artifact

CONFIG, MODEL, STATISTICS = "config.json", "model.safetensors", "statistics.safetensors"
VALUES = [
    *(None, True, False, -1, 0, 1, 2, 3, 7, 16, 2**31, 2**63, 10**400, -(10**18)),
    *(0.5, -0.5, 1e-320, 1e6, 1e308, -1e308, float("nan"), float("inf")),
    *("", "oas", "detail", "../../x", "a\0b", "\ud800", "\x1b[2J", "x" * 100_000),
    *([], {}, [[]], [None], {"": {}}, ["a"] * 1000),
]


def mutate_config(config: dict, draw: random.Random) -> None:
    """Replace, remove or double one value, anywhere in the tree."""
    places = []
    waiting = [config]
    while waiting:
        node = waiting.pop()
        for key in node if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                waiting.append(node[key])
    node, key = draw.choice(places)
    action = draw.choice(("replace", "replace", "remove", "nudge", "add"))
    if action == "remove":
        del node[key]
    elif action == "nudge" and isinstance(node[key], int | float):
        node[key] = draw.choice((node[key] + 1, node[key] - 1, -node[key], node[key] * 1e30, float(node[key])))
    elif action == "add" and isinstance(node, dict):
        node[draw.choice(("x" * 100_000, "", "num_classes", "rank"))] = draw.choice(VALUES)
    else:
        node[key] = draw.choice(VALUES)


def mutate_tensors(tensors: dict, draw: random.Random) -> None:
    """Change the values, the shape, the dtype or the name of one tensor."""
    name = draw.choice(sorted(tensors))
    value = tensors[name]
    action = draw.choice(("fill", "fill", "scale", "element", "element", "remove", "rename", "dtype", "shape", "noise"))
    number = draw.choice((0.0, -1.0, 1e-30, 1e4, 1e20, 3e38, -3e38, torch.nan, torch.inf))
    floating = value.is_floating_point()
    if action == "remove":
        del tensors[name]
    elif action == "rename":
        tensors[draw.choice(("x", name + "x", "x" * 10_000))] = tensors.pop(name)
    elif action == "dtype":
        tensors[name] = value.to(draw.choice((torch.float64, torch.int32, torch.float16, torch.bfloat16)))
    elif action == "shape":
        tensors[name] = draw.choice((value.flatten(), value[None], value[:0], value.repeat(2, *[1] * (value.ndim - 1))))
    elif action == "noise" and floating:
        tensors[name] = value + torch.randn(value.shape, generator=torch.Generator().manual_seed(draw.randrange(999)))
    elif action == "element":
        value.view(-1)[draw.randrange(value.numel())] = number if floating else draw.choice((-1, 0, 2**62))
    elif action == "scale" and floating:
        value *= draw.choice((-1.0, 0.0, 1e3, 1e20))
    else:
        value.fill_(number if floating else draw.choice((-1, 0, 2**62)))


def mutate(directory: Path, draw: random.Random) -> None:
    """Mutate the artifact one to three times, and make the hashes of its files right again."""
    config = json.loads((directory / CONFIG).read_text())
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        name = draw.choice((CONFIG, MODEL, STATISTICS, STATISTICS))
        if name == CONFIG:
            mutate_config(config, draw)
            continue
        tensors = {key: value.clone() for key, value in load_file(directory / name).items()}
        if tensors:
            mutate_tensors(tensors, draw)
            save_file({key: value.contiguous() for key, value in tensors.items()}, directory / name)
            if isinstance(config.get("files"), dict):
                config["files"][name] = _fingerprint(directory / name)
    (directory / CONFIG).write_text(json.dumps(config))


def outcome(directory: Path) -> str:
    """What becomes of an artifact: "refused", "fine", or what is wrong."""
    try:
        artifact = Artifact.from_pretrained(directory)
    except ArtifactError as error:
        return "refused" if len(str(error)) < 1500 else f"a message of {len(str(error))} characters"
    except Exception as error:
        return f"unclean: {traceback.format_exception_only(error)[-1].strip():.200}"
    try:
        model = LatentModel.of(artifact)
    except ValueError as error:  # no class has two images
        return "refused later" if "no class has two images" in str(error) else f"unclean: {error!s:.200}"
    network = artifact.network
    images = torch.rand(2, network.channels, network.image_size, network.image_size, generator=torch.Generator())
    noise = torch.randn(2, network.latent_dim, generator=torch.Generator().manual_seed(1))
    for mode in ("decode", "detail"):
        made = semantic_augment_image(images, noise, model, torch.zeros(2, dtype=torch.int64), mode=mode)
        if not made.isfinite().all():
            return f"images that are not finite in mode {mode}"
    return "fine"


def fuzz(times: int, seed: int, conditional: bool = False) -> Counter:
    """The outcomes of ``times`` mutations, with the number of the first mutation of each."""
    found: Counter = Counter()
    with tempfile.TemporaryDirectory() as folder:
        original = build_artifact(conditional=conditional).save(Path(folder, "original"))
        for number in range(times):
            directory = Path(folder, "mutated")
            shutil.rmtree(directory, ignore_errors=True)
            shutil.copytree(original, directory)
            mutate(directory, random.Random(f"{seed}/{number}"))
            result = outcome(directory)
            if result not in found and not result.startswith(("refused", "fine")):
                print(f"mutation {number} of seed {seed}: {result}", file=sys.stderr)
            found[result] += 1
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("times", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--conditional", action="store_true")
    options = parser.parse_args()
    for text, count in fuzz(options.times, options.seed, options.conditional).most_common():
        print(f"{count:>8} {text}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
