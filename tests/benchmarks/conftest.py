import pytest
import torch

from benchmarks.classification.measure import pack_bits
from benchmarks.classification.protocol import COMMON

LEVELS = {
    "natural, none": 0.40,
    "natural, randaugment": 0.46,
    "natural, ours+randaugment": 0.49,
    "balanced, none": 0.41,
}
COUNTS = [60, 40]  # held-out images by class


def make_run(base, arm, seed, level, **changed):
    """A line as the benchmark stores it; the adjusted figures are three points higher."""
    level += [0.0, 0.01, -0.01][seed]
    ours = (
        {"p": 0.5, "checkpoint": "mine", "fingerprint": "0123", "checkpoint_saw": "the same"} if "ours" in arm else {}
    )
    own = {"magnitude": 9} if "randaugment" in arm else {}
    clean = {"clean_epochs": 8} if arm != "none" else {}

    def reading(accuracy):
        right = [round(accuracy * n) for n in COUNTS]
        bits = torch.cat([torch.arange(n) < r for n, r in zip(COUNTS, right, strict=True)])
        figures = dict.fromkeys(("accuracy", "balanced_accuracy", "many", "medium", "few"), accuracy)
        return figures | {"recall": [accuracy, accuracy], "ece": 0.1, "correct": pack_bits(bits)}

    run = {
        "data": "faces", "imbalance": 100, "dedup": None, "split": "validation", "classifier": "resnet18-quarter",
        "base": base, "arm": arm, "seed": seed, "epochs": 60, "settings": COMMON | own | ours | clean, "protocol": 1,
        "device": "cpu", "versions": {"torch": "2.14"}, "classes": ["glad", "sad"], "counts": [100, 1],
        "measured_counts": COUNTS, "images": 101, "measured": 100, "mAP": level + 0.02, "images_per_s": 9.0,
        "fitted": [1.0, 1.0], "adjusted": {"tau": 1.0} | reading(level + 0.03),
        "taus": {"0.0": [level, level], "1.0": [level + 0.03, level + 0.03], "1.5": [level, level + 0.05]},
    } | reading(level)  # fmt: skip
    return run | changed


@pytest.fixture
def runs():
    """Four rows of three seeds."""
    return [make_run(*name.split(", "), seed, level) for seed in range(3) for name, level in LEVELS.items()]
