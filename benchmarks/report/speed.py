"""The report on speed and memory, from the results of the programs in ``benchmarks/speed``."""

import json
import statistics
from pathlib import Path
from typing import Any

from benchmarks.classification import store

from .markdown import make_table
from .rows import RESULTS

KINDS = {
    "augmentation": "Batches of 256 RGB images of 48 pixels, p 0.5. *ratio* is the speed "
    "relative to the plain path, which is eager float32 on half of the images. *share of step* is the time as a "
    "fraction of a ResNet-34 training step on the same device. *share of matrix rate* is the number of operations of "
    "our convolutions per second, divided by that of a large matrix product. *share of convolution rate* is the same, "
    "divided by that of the convolutions alone.",
    "rate": "Measured rates of a large matrix product and of the convolutions alone.",
    "step": "A training step through `SemanticLoader`. *added* is the extra time, as a fraction of the step without "
    "augmentation.",
    "scaling": "Speed for different batch sizes, image sizes, numbers of classes K and latent dimensions d.",
    "start": "Time to import, and time to the first batch.",
}
COMMON = ("kind", "device", "threads", "load", "quick", "checkpoint", "versions")


def make_report() -> str:
    """Return the text of the report."""
    parts = ["# Speed", "All contenders in a table take turns in one run. The figures depend on the machine, so "]
    parts[1] += "compare them only within one run."
    lines = store.read(RESULTS / "throughput.jsonl", ("kind", "device", "quick"))
    for device in dict.fromkeys(line["device"] for line in lines):
        parts += [f"## Augmentation, {device}", "`python -m benchmarks.speed.throughput`"]
        for kind, text in KINDS.items():
            chosen = [line for line in lines if line["kind"] == kind and line["device"] == device and not line["quick"]]
            if chosen:
                parts += [text, table_throughput(chosen)]
        last = next(line for line in reversed(lines) if line["device"] == device)
        parts += [f"{device}, {last['threads']} threads, torch {last['versions']['torch']}, {last['checkpoint']}."]
    parts += ["![Images per second of all contenders, and scaling](../results/throughput.png)"]
    for name, describe in (
        ("ways", describe_ways),
        ("arms", describe_arms),
        ("training", describe_training),
        ("class_statistics", describe_statistics),
        ("workers", describe_workers),
    ):
        path = RESULTS / f"{name}.json"
        if path.is_file():
            parts += describe(read_json(path))
    return "\n\n".join(parts) + "\n"


def read_json(path: Path) -> Any:
    """The content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def table_throughput(lines: list[dict[str, Any]]) -> str:
    """A table of one kind of figures, with the newest line for each name."""
    head = list(dict.fromkeys(name for line in lines for name in line if name not in COMMON))
    named = [name for name in head if not any(isinstance(line.get(name), float) for line in lines)]
    newest: dict[tuple[str, ...], dict[str, Any]] = {}
    for line in lines:
        key = tuple(str(line.get(name)) for name in named)
        newest.pop(key, None)  # the order is that of the newest run
        newest[key] = line
    cells = [[str(line.get(name, "")) for name in head] for line in newest.values()]
    return make_table([name.replace("_", " ") for name in head], cells)


def make_ways() -> str:
    """The text of the generated block ``ways``."""
    path = RESULTS / "ways.json"
    return "\n\n".join(describe_ways(read_json(path))[2:]) + "\n" if path.is_file() else "Not measured yet.\n"


def describe_ways(found: dict[str, Any]) -> list[str]:
    """What each way to augment costs on a CPU."""
    lines = []
    for name, figures in found["ways"].items():
        each = [figures.get(precision) for precision in ("float32", "bfloat16")]
        cells = [(f"{x['images_per_s']:.0f}", f"{100 * x['share_of_step']:.1f} %") if x else ("", "") for x in each]
        lines.append([name, *cells[0], *cells[1]])
    return [
        "## Every way to augment, cpu",
        "`python -m benchmarks.speed.ways --json benchmarks/results/ways.json`",
        make_table(["way", "images/s", "share of step", "bfloat16, images/s", "bfloat16, share of step"], lines),
        f"{found['threads']} CPU thread, torch {found['versions']['torch']}, median of {found['turns']} turns. Images "
        f"of 48 pixels are read from PNG files in {found['workers']} worker and half of them are augmented in mode "
        f"`detail` with {found['checkpoint']}. *share of step* is the time of an image divided by its "
        f"time in a training step of a ResNet-34 ({found['step_images_per_s']:g} images/s). *networks alone* is "
        f"the time of E and G for one image after another, without anything else.",
    ]


def describe_arms(found: dict[str, Any]) -> list[str]:
    """The cost of the arms of the classification benchmark."""
    lines = [
        [arm, f"{figures['ms_per_image']:.2f}", f"{figures['ratio']:.2f}"] for arm, figures in found["arms"].items()
    ]
    note = (
        f"{found['classifier']} on {found['size']}-pixel images, checkpoint {found['checkpoint']}; {found['device']}, "
        f"{found['threads']} threads, median of {found['turns']} turns. Encoding the data set once takes "
        f"{100 * found['encoding']:.1f} % of the time of a run of {found['of_epochs']} epochs."
    )
    return [
        "## Arms of the classification benchmark",
        "`python -m benchmarks.speed.arms DATA --json benchmarks/results/arms.json`",
        "*ratio* is the time of a training, including its clean epochs, divided by that of the first arm.",
        make_table(["arm", "ms an image", "ratio"], lines),
        note,
    ]


def describe_training(found: dict[str, Any]) -> list[str]:
    """The trainer compared with a plain loop."""
    rates = {name: statistics.median(values) for name, values in found["images_per_s"].items()}
    lines = [[name, f"{rate:.1f}", f"{found['ratio'][name]:.2f}"] for name, rate in rates.items()]
    return [
        "## Training a checkpoint",
        "`python -m benchmarks.speed.training --json benchmarks/results/training.json`",
        f"Preset `{found['preset']}`, {found['device']}, {found['threads']} threads, torch "
        f"{found['versions']['torch']}. The loops take turns, and rates are the median of "
        f"{len(next(iter(found['images_per_s'].values())))}, on a CPU of processor time. The trainer uses bfloat16. "
        f"*everything on* is the recipe for 7 classes, once all of its losses have joined, with networks that are "
        f"conditional on the class. *one class* has no losses that need classes and no draws.",
        make_table(["loop", "images/s", "ratio"], lines),
    ]


def describe_statistics(found: dict[str, Any]) -> list[str]:
    """Class statistics with many classes."""
    sizes = found["sizes"]
    lines = [[name, f"{stage['seconds']:.2f}", str(stage["peak_MB"])] for name, stage in found["stages"].items()]
    return [
        f"## Class statistics of {sizes['classes']} classes x {sizes['dim']} dimensions",
        "`python -m benchmarks.speed.class_statistics --json benchmarks/results/class_statistics.json`",
        f"{sizes['latents']} latents with a long tail, {found['threads']} threads, torch {found['versions']['torch']}. "
        f"The peak is the highest memory use of the process so far.",
        make_table(["stage", "seconds", "peak, MB"], lines),
    ]


def describe_workers(found: dict[str, Any]) -> list[str]:
    """Memory of DataLoader workers."""
    lines = []
    for method in ("fork", "spawn", "forkserver"):
        plain, augmented = found[f"{method}, plain"], found[f"{method}, augmented"]
        cells = [f"{each[kind]:.0f}" for kind in ("private", "resident") for each in (plain, augmented)]
        lines.append([method, *cells])
    return [
        "## Memory of DataLoader workers",
        "`python -m benchmarks.speed.workers --json benchmarks/results/workers.json`",
        f"Two workers, 48-pixel images, torch {found['versions']['torch']}. Memory of the larger worker in megabytes, "
        f"without and with `SemanticAugment` in its pipeline. The pickled transform has {found['pickled_bytes']} "
        f"bytes.",
        make_table(
            ["start method", "private, plain", "private, augmenting", "resident, plain", "resident, augmenting"], lines
        ),
    ]
