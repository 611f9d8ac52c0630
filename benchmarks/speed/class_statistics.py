"""Time and memory of class statistics: python -m benchmarks.speed.class_statistics [--json FILE] (Linux)

There are 1 000 classes with 256 dimensions, and 100 000 latents with a long tail. The stages are the streaming update,
shrinkage and factors of all classes, and conversion to tensors and back. For each stage, the program prints the time in
seconds and the peak memory of the process so far.
"""

import argparse
import json
import platform
import resource
import time
from pathlib import Path

import torch

from semantic_aug import ClassStatistics

CLASSES, DIM, LATENTS, BATCH = 1000, 256, 100_000, 1024


def main() -> None:
    """Print one line per stage."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    weights = 100.0 ** (-torch.arange(CLASSES) / (CLASSES - 1))
    labels = torch.multinomial(weights, LATENTS, replacement=True, generator=generator)
    statistics = ClassStatistics(CLASSES, DIM)
    stages: dict[str, dict[str, float]] = {}
    began = time.perf_counter()

    def stage(name: str) -> None:
        nonlocal began
        seconds = time.perf_counter() - began
        megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        stages[name] = {"seconds": round(seconds, 2), "peak_MB": round(megabytes)}
        print(f"{name:<40} {seconds:8.2f} s   peak {megabytes:6.0f} MB")
        began = time.perf_counter()

    stage("made ready")
    for start in range(0, LATENTS, BATCH):
        part = labels[start : start + BATCH]
        statistics.update(torch.randn(len(part), DIM, generator=generator), part)
    stage(f"update with {LATENTS} latents")
    statistics.factors("oas")
    stage("factors of all classes (oas)")
    statistics.factors("oas", rank=32)
    stage("factors of rank 32")
    tensors = statistics.to_tensors()
    ClassStatistics.from_tensors(tensors)
    stage("to tensors and back")
    if options.json:
        sizes = {"classes": CLASSES, "dim": DIM, "latents": LATENTS}
        result = {"sizes": sizes, "stages": stages, "threads": torch.get_num_threads(),
                  "versions": {"python": platform.python_version(), "torch": torch.__version__}}  # fmt: skip
        Path(options.json).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
