"""Speed of augmentations: python -m benchmarks.speed.throughput [--device D] [--parts PART...] [--json FILE]

All contenders take turns in one run to augment the same batch of RGB images, and figures are medians. Ours runs at
p = 0.5 with the bundled checkpoint. "latents" gets cached latents, and "reconstructions" also gets the cached G(mu).
Ratios are relative to the plain path, which encodes and decodes half of the images in eager float32. torchvision's
RandAugment runs image by image on the CPU, as in a DataLoader worker.

One flat JSON line per figure is appended to FILE. If matplotlib is installed, a plot is drawn next to it. These kinds
of lines exist:

- "augmentation": images/s, the ratio to the plain path, the share of a ResNet-34 training step, the shares of the
  device's measured matrix and convolution rates (operations counted / time / rate), and the additional peak memory
- "rate": the measured rates of a large matrix product and of the networks' convolutions alone
- "step": a ResNet-34 training step through ``SemanticLoader``, and the time that augmentation adds to it
- "scaling": speed for different batch sizes, image sizes, numbers of classes K and latent dimensions d
- "start": seconds to import, and seconds from construction to the first batch, in new processes
"""

import argparse
import copy
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from operator import mul
from pathlib import Path
from typing import Any, cast

import torch
import torchvision
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.transforms import v2

from semantic_aug import Artifact, ClassStatistics, SemanticAugmentBatch, SemanticLoader
from semantic_aug.functional import model_input, semantic_augment_image
from semantic_aug.images import model_to_unit
from semantic_aug.latents import LatentCache
from semantic_aug.model.networks import PRESETS, Encoder, Generator
from semantic_aug.model.recommended import MODES, Mode
from semantic_aug.model.runtime import LatentModel

CHECKPOINT, P, STRENGTH = "fer2013-48", 0.5, 0.35
DTYPES = {"float32": None, "bfloat16": torch.bfloat16}
KNOWN = {"": (), "latents": ("mu",), "reconstructions": ("mu", "reconstruction")}
# How often E and G process each chosen image, by mode and by what is cached.
PASSES: dict[tuple[Mode, str], tuple[int, int]] = {
    ("decode", ""): (1, 1), ("decode", "latents"): (0, 1), ("detail", ""): (1, 2), ("detail", "latents"): (0, 2),
    ("detail", "reconstructions"): (0, 1),
}  # fmt: skip
Contender = Callable[[Tensor, Tensor], Any]


# --- Measuring ----------------------------------------------------------------------------------------------------


def synchronise(device: str) -> None:
    """Wait for the device."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def seconds(runs: Mapping[str, Callable[[], Any]], device: str, repeats: int) -> dict[str, float]:
    """The median time of each run in seconds. Runs take turns, and up to two rounds are for warming up."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    calls = 10 if device.startswith("cuda") else 1
    warm_up = min(repeats, 2)
    for turn in range(repeats + warm_up):
        for name, run in runs.items():
            synchronise(device)
            began = time.perf_counter()
            for _ in range(calls):
                run()
            synchronise(device)
            if turn >= warm_up:
                taken[name].append((time.perf_counter() - began) / calls)
    return {name: statistics.median(values) for name, values in taken.items()}


def peak_megabytes(run: Callable[[], Any], device: str) -> float | None:
    """The additional peak GPU memory of a call. None on a CPU, where it is unknown."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    return None


def operations(run: Callable[[], Any]) -> int:
    """Number of floating point operations of the convolutions and matrix products in a call."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def matrix_product(device: str, dtype: torch.dtype | None, size: int) -> Callable[[], Any]:
    """A product of two square matrices."""
    a = torch.randn(size, size, device=device, dtype=dtype or torch.float32)
    return lambda: a @ a


@torch.no_grad()
def convolutions(artifact: Artifact, device: str, dtype: torch.dtype | None, batch: int) -> Callable[[], Any]:
    """Only the convolutions of E and G, on inputs of the same shapes."""
    shapes: list[tuple[nn.Conv2d, torch.Size]] = []
    hooks = [
        layer.register_forward_hook(lambda layer, inputs, _: shapes.append((layer, inputs[0].shape)))
        for network in (artifact.encoder, artifact.generator)
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d)
    ]
    artifact.encode(artifact.decode(torch.zeros(batch, artifact.network.latent_dim, device=device)))
    for hook in hooks:
        hook.remove()
    alone = []
    for layer, shape in shapes:
        layer = copy.deepcopy(layer).to(dtype or torch.float32).to(memory_format=torch.channels_last)
        x = torch.randn(shape, device=device, dtype=dtype or torch.float32).to(memory_format=torch.channels_last)
        alone.append(partial(layer, x))
    return lambda: [run() for run in alone]


def describe_checkpoint(artifact: Artifact) -> str:
    """The name of the bundled checkpoint and its latent dimension, for the results."""
    return f"{CHECKPOINT} (d {artifact.network.latent_dim})"


# --- Contenders ---------------------------------------------------------------------------------------------------


def latents_of(artifact: Artifact, images: Tensor) -> dict[str, Tensor]:
    """The content of a cache for these images, on the CPU like a cache."""
    mu = artifact.encode(model_input(images, artifact.network))
    return {"mu": mu.cpu(), "reconstruction": model_to_unit(artifact.decode(mu)).half().cpu()}


def plain(artifact: Artifact, mode: Mode, images: Tensor) -> Contender:
    """The plain path, in eager float32 on half of the images, with weights in PyTorch's default memory format."""
    fast = LatentModel.of(artifact)
    layout = torch.contiguous_format
    encoder, generator = (copy.deepcopy(network).to(memory_format=layout) for network in (fast.encoder, fast.generator))
    model = replace(fast, encoder=encoder, generator=generator)
    chosen = slice(0, round(P * len(images)))
    noise = torch.randn(len(images[chosen]), artifact.network.latent_dim)

    def run(images: Tensor, labels: Tensor) -> Tensor:
        out = images.clone()
        out[chosen] = semantic_augment_image(images[chosen], noise, model, labels[chosen], strength=STRENGTH, mode=mode)
        return out

    return run


def ours(artifact: Artifact, images: Tensor, *, compiled: bool) -> dict[str, Contender]:
    """``SemanticAugmentBatch`` in every mode and precision, with and without a cache."""
    cache = latents_of(artifact, images)
    found: dict[str, Contender] = {}
    for mode, known in PASSES:
        for precision, dtype in DTYPES.items():
            for compile in (False, True) if compiled else (False,):
                augment: Callable[..., Any] = SemanticAugmentBatch(
                    P, STRENGTH, checkpoint=artifact, mode=mode, dtype=dtype, compile=compile, domain_check=False
                )
                latents = {name: cache[name] for name in KNOWN[known]} or None
                words = ("ours", mode, known, precision, "compiled" if compile else "eager")
                found[" ".join(word for word in words if word)] = partial(augment, latents=latents)
    return found


def others(classes: int, device: str) -> dict[str, Contender]:
    """The augmentations that users run today, if they are installed."""
    rand, mixup = v2.RandAugment(), v2.MixUp(num_classes=classes)

    def image_by_image(images: Tensor, labels: Tensor) -> Tensor:
        return torch.stack([rand(image) for image in (images.cpu() * 255).to(torch.uint8)])

    found: dict[str, Contender] = {
        "none": lambda images, labels: images.clone(),
        "torchvision RandAugment": image_by_image,
        "torchvision MixUp": mixup,
    }
    try:
        import kornia.augmentation.auto

        kornia_rand = kornia.augmentation.auto.RandAugment(n=2, m=10)
        found["kornia RandAugment"] = lambda images, labels: kornia_rand(images)
    except ImportError:
        print("kornia is not installed; left out")
    try:
        from diffusers.models import AutoencoderTiny

        tiny = AutoencoderTiny().eval().requires_grad_(False).to(device)
        found["AutoencoderTiny round trip"] = lambda images, labels: tiny(images * 2 - 1).sample
    except ImportError:
        print("diffusers is not installed; left out")
    return found


# --- A training step ----------------------------------------------------------------------------------------------


def training_step(device: str, classes: int) -> Contender:
    """One step of a ResNet-34 with a stem for small images, under bfloat16 autocast on a GPU."""
    model = torchvision.models.resnet34(num_classes=classes)
    model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    model = model.to(device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def step(images: Tensor, labels: Tensor) -> None:
        with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=device.startswith("cuda")):
            loss = nn.functional.cross_entropy(model(images.to(memory_format=torch.channels_last)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def loader_steps(step: Contender, batches: list, augment: SemanticAugmentBatch, device: str, cache: Any) -> None:
    """An epoch of a typical training loop."""
    for images, labels in SemanticLoader(batches, augment, device=device, latents=cache):
        step(images, labels)


# --- Parts --------------------------------------------------------------------------------------------------------


def measure_augmentations(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure all augmentations, the peak rates, and the cost of augmentation in a training step."""
    device, n, size = options.device, options.batch, options.size
    artifact = Artifact.from_pretrained(CHECKPOINT).to(device)
    images, labels = batch_of(n, size, len(artifact.classes), device)
    contenders = {f"plain {mode}": plain(artifact, mode, images) for mode in MODES}
    contenders |= ours(artifact, images, compiled=options.compile) | others(len(artifact.classes), device)
    runs = {name: partial(contender, images, labels) for name, contender in contenders.items()}
    # The peak rates take turns with the contenders, because the speed of the machine may change.
    peaks: dict[str, Callable[[], Any]] = {}
    for name, dtype in DTYPES.items():
        peaks[f"{name} matrix"] = matrix_product(device, dtype, options.matrix)
        peaks[f"{name} convolution"] = convolutions(artifact, device, dtype, max(n // 2, 1))
    image = artifact.decode(torch.zeros(1, artifact.network.latent_dim, device=device))
    mu = artifact.encode(image)
    each = operations(lambda: artifact.encode(image)), operations(lambda: artifact.decode(mu))
    step = training_step(device, len(artifact.classes))
    step_seconds = seconds({"": lambda: step(images, labels)}, device, options.step_repeats)[""]
    spent = seconds(runs | peaks, device, options.repeats)
    rates = {name: operations(run) / spent[name] for name, run in peaks.items()}
    lines: list[dict[str, Any]] = [
        {"kind": "rate", "name": name, "TFLOPS": rate / 1e12} for name, rate in rates.items()
    ]
    lines.append({"kind": "step", "name": "without", "batch": n, "images_per_s": n / step_seconds})
    for name, run in runs.items():
        words, taken = name.split(), spent[name]
        line: dict[str, Any] = {"kind": "augmentation", "name": name, "batch": n, "images_per_s": n / taken}
        line["share_of_step"] = taken / step_seconds
        if (peak := peak_megabytes(run, device)) is not None:
            line["peak_MB"] = peak
        if words[0] in ("plain", "ours"):
            line["ratio"] = spent[f"plain {words[1]}"] / taken
            precision = "bfloat16" if "bfloat16" in words else "float32"
            known = words[2] if len(words) > 2 and words[2] in KNOWN else ""
            counted = P * n * sum(map(mul, PASSES[cast(Mode, words[1]), known], each))
            for of in ("matrix", "convolution"):
                line[f"share_of_{of}_rate"] = counted / taken / rates[f"{precision} {of}"]
        lines.append(line)
    return lines + measure_steps(artifact, step, options)


def measure_steps(artifact: Artifact, step: Contender, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure training steps through ``SemanticLoader``, where a GPU can augment during the step."""
    device = options.device
    batches = [batch_of(options.batch, options.size, len(artifact.classes), "cpu") for _ in range(options.steps)]
    if device.startswith("cuda"):
        batches = [(images.pin_memory(), labels.pin_memory()) for images, labels in batches]
    found = [latents_of(artifact, images.to(device)) for images, _ in batches]
    mu, reconstruction = (torch.cat([each[name] for each in found]) for name in ("mu", "reconstruction"))
    cache = LatentCache(mu, reconstruction, artifact.fingerprint)
    indexed = [(*batch, torch.arange(options.batch) + i * options.batch) for i, batch in enumerate(batches)]
    runs = {}
    for name, p, known in (("not augmented", 0.0, False), ("ours detail", P, False), ("ours detail latents", P, True)):
        augment = SemanticAugmentBatch(
            p, STRENGTH, checkpoint=artifact, mode="detail", dtype=torch.bfloat16, compile=options.compile and p > 0,
            domain_check=False,
        )  # fmt: skip
        runs[name] = partial(
            loader_steps, step, indexed if known else batches, augment, device, cache if known else None
        )
    spent = seconds(runs, device, options.step_repeats)
    images = options.steps * options.batch
    return [
        {"kind": "step", "name": name, "batch": options.batch, "images_per_s": images / taken,
         "added": taken / spent["not augmented"] - 1}
        for name, taken in spent.items()
    ]  # fmt: skip


def measure_scaling(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure the speed for different batch sizes, image sizes, K and d.

    The networks are untrained, because the speed does not depend on the weights.
    """
    base = {"batch": options.batch, "size": options.size, "K": 7, "d": 128}
    lines = []
    for along, values in options.scaling.items():
        runs = {}
        for value in values:
            at = base | {along: value}
            images, labels = batch_of(at["batch"], at["size"], at["K"], options.device)
            augment: Contender = SemanticAugmentBatch(
                P, STRENGTH, checkpoint=untrained(at["K"], at["d"]), mode="detail", dtype=torch.bfloat16,
                domain_check=False,
            )  # fmt: skip
            runs[str(value)] = partial(augment, images, labels)
        spent = seconds(runs, options.device, options.repeats)
        for value in values:
            n = (base | {along: value})["batch"]
            lines.append({"kind": "scaling", "along": along, "value": value, "images_per_s": n / spent[str(value)]})
    return lines


def untrained(classes: int, dim: int) -> Artifact:
    """An artifact of the size of the bundled preset, with random weights and statistics."""
    network = replace(PRESETS[CHECKPOINT], latent_dim=dim, latent_map=False)
    result = ClassStatistics(classes, dim)
    labels = torch.arange(classes).repeat(8)
    result.update(torch.randn(len(labels), dim), labels)
    names = [str(label) for label in range(classes)]
    return Artifact(
        encoder=Encoder(network), generator=Generator(network), network=network, statistics=result, classes=names
    )


def batch_of(n: int, size: int, classes: int, device: str) -> tuple[Tensor, Tensor]:
    """Random images (n, 3, size, size) in [0, 1], as smooth as real pictures, and labels (n,)."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(n, 3, 6, 6, generator=generator)
    images = nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
    return images.to(device), (torch.arange(n) % classes).to(device)


# Runs in a new process, where nothing is loaded or warmed up. The time includes loading the checkpoint.
FIRST_BATCH = f"""
import sys, time, torch
from semantic_aug import SemanticAugmentBatch
n, size, device = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
images, labels = torch.rand(n, 3, size, size, device=device), torch.arange(n) % 7
began = time.perf_counter()
SemanticAugmentBatch({P}, {STRENGTH})(images, labels)[0].sum().item()
print(time.perf_counter() - began)
"""


def measure_start(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure imports, and the time from construction to the first augmented batch, in new processes."""
    statements = ("import torchvision.transforms.v2", "from semantic_aug import SemanticAugment")
    imports = {
        statement: partial(subprocess.run, [sys.executable, "-c", statement], check=True) for statement in statements
    }
    spent = seconds(imports, "cpu", options.step_repeats)
    lines: list[dict[str, Any]] = [
        {"kind": "start", "name": statement, "seconds": taken} for statement, taken in spent.items()
    ]
    for n in sorted({min(32, options.batch), options.batch}):
        words = [sys.executable, "-c", FIRST_BATCH, str(n), str(options.size), options.device]
        outs = [subprocess.run(words, check=True, capture_output=True) for _ in range(options.step_repeats)]
        taken = statistics.median(float(out.stdout) for out in outs)
        lines.append({"kind": "start", "name": f"first batch of {n}", "seconds": taken})
    ratio = spent[statements[1]] / spent[statements[0]]
    return [*lines, {"kind": "start", "name": "import ratio", "ratio": ratio}]


PARTS: dict[str, Callable[[argparse.Namespace], list[dict[str, Any]]]] = {
    "augmentation": measure_augmentations,
    "scaling": measure_scaling,
    "start": measure_start,
}


# --- Output -------------------------------------------------------------------------------------------------------


def plot(lines: list[dict[str, Any]], path: Path) -> None:
    """Draw a bar for each augmentation and the scaling curves, if matplotlib is installed."""
    try:
        import matplotlib
    except ImportError:
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    bars = sorted((x for x in lines if x["kind"] == "augmentation"), key=lambda x: x["images_per_s"])
    along = sorted({x["along"] for x in lines if x["kind"] == "scaling"})
    figure = pyplot.figure(figsize=(14, 3 + 0.22 * len(bars)), layout="constrained")
    grid = figure.add_gridspec(max(len(along), 1), 2, width_ratios=(2, 1))
    axes = figure.add_subplot(grid[:, 0])
    axes.barh([x["name"] for x in bars], [x["images_per_s"] for x in bars])
    axes.set(xscale="log", xlabel="images/s")
    for row, name in enumerate(along):
        points = [(x["value"], x["images_per_s"]) for x in lines if x.get("along") == name]
        axes = figure.add_subplot(grid[row, 1])
        axes.plot(*zip(*points, strict=True), marker="o")
        axes.set(xscale="log", xlabel=name, ylabel="images/s", ylim=(0, 1.1 * max(rate for _, rate in points)))
        axes.set_xticks([value for value, _ in points], [str(value) for value, _ in points])
        axes.minorticks_off()
    figure.savefig(path)
    pyplot.close(figure)


def main(arguments: list[str] | None = None) -> None:
    """Measure every part, print the lines and append them to a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="smallest sizes, only to test that it runs")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="default: all")
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    parser.add_argument("--json", default="benchmarks/results/throughput.jsonl", metavar="FILE")
    options = parser.parse_args(arguments)
    gpu = options.device.startswith("cuda")
    if gpu:
        torch.cuda.set_device(torch.device(options.device).index or 0)  # synchronisation and memory use this device
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32  # same "float32" as in convolutions
    options.step_repeats, options.steps, options.matrix = (20, 12, 8192) if gpu else (3, 1, 1024)
    options.scaling = {
        "batch": [16, 64, 256, 1024], "size": [48, 96, 224], "K": [7, 100, 1000], "d": [32, 128, 256],
    }  # fmt: skip
    if options.quick:
        options.batch, options.repeats, options.step_repeats, options.compile = 4, 1, 1, False
        options.steps, options.matrix = 1, 64
        options.scaling = {"batch": [2, 4], "K": [2, 3]}
    common = {
        "device": torch.cuda.get_device_name(options.device) if gpu else "cpu",
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "quick": options.quick,
        "checkpoint": describe_checkpoint(Artifact.from_pretrained(CHECKPOINT)),
        "versions": {"python": platform.python_version(), "torch": torch.__version__,
                     "torchvision": torchvision.__version__},
    }  # fmt: skip
    lines = []
    for part in options.parts:
        for line in PARTS[part](options):
            lines.append(line)
            print(*(f"{value:.4g}" if isinstance(value, float) else value for value in line.values()), flush=True)
    path = Path(options.json)
    with path.open("a", encoding="utf-8") as file:
        for line in lines:
            rounded = {key: float(f"{x:.4g}") if isinstance(x, float) else x for key, x in line.items()}
            file.write(json.dumps(rounded | common) + "\n")
    if {"augmentation", "scaling"} <= set(options.parts):
        plot(lines, path.with_suffix(".png"))


if __name__ == "__main__":
    main()
