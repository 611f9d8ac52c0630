"""Memory of DataLoader workers that augment: python -m benchmarks.speed.workers [--json FILE] (Linux)

For each start method, this runs one epoch of a DataLoader with two workers, with and without ``SemanticAugment`` in its
pipeline. Every worker reports its memory in megabytes after it has augmented. Resident memory counts shared memory in
full for each worker, and proportional memory splits it among the processes that share it. Private memory is not shared.
"""

import argparse
import json
import pickle
import platform

import torch
import torchvision
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from semantic_aug import SemanticAugment

FIELDS = {"Rss": "resident", "Pss": "proportional", "Private_Dirty": "private"}


def memory() -> list[float]:
    """This process's memory in MB, in the order of ``FIELDS``."""
    with open("/proc/self/smaps_rollup") as file:
        lines = dict(line.split(":", 1) for line in file if ":" in line.split()[0])
    return [int(lines[name].split()[0]) / 1024 for name in FIELDS]


class Images(Dataset):
    """Random images of 48 pixels, each with the memory use of the process that made it."""

    def __init__(self, augment: v2.Transform | None) -> None:
        self.augment = augment

    def __len__(self) -> int:
        return 512

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        image = torch.rand(1, 48, 48)
        return (self.augment(image) if self.augment else image), torch.tensor(memory())


def measure(context: str, augmented: bool) -> dict[str, float]:
    """The largest memory use of a worker at the end of an epoch."""
    data = Images(SemanticAugment(p=0.5, domain_check=False) if augmented else None)
    loader = DataLoader(data, batch_size=32, num_workers=2, multiprocessing_context=context)
    last = [figures.amax(0) for _, figures in loader][-2:]
    return dict(zip(FIELDS.values(), torch.stack(last).amax(0).round().tolist(), strict=True))


def main() -> None:
    """Print one line per start method, or write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    result: dict = {
        "versions": {
            "python": platform.python_version(), "torch": torch.__version__, "torchvision": torchvision.__version__,
        },
        "pickled_bytes": len(pickle.dumps(SemanticAugment())),
    }  # fmt: skip
    for context in ("fork", "spawn", "forkserver"):
        for augmented in (False, True):
            figures = measure(context, augmented)
            result[f"{context}, {'augmented' if augmented else 'plain'}"] = figures
            print(f"{context:<11} augmented={augmented!s:<6}", figures, flush=True)
    print("pickled transform:", result["pickled_bytes"], "bytes")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(result, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
