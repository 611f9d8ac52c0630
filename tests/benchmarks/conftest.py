import pytest

ARMS = {"none": 0.60, "balanced": 0.62, "ours-detail": 0.65}


def make(arm, seed, mean, **changed):
    figure = mean + [0.01, -0.01, 0.0, 0.02, -0.02][seed]
    run = {
        "data": "faces",
        "imbalance": None,
        "split": "test",
        "classifier": "resnet34",
        "base": "flip-crop",
        "arm": arm,
        "seed": seed,
        "epochs": 40,
        "dedup": False,
        "stage": "report",
        "settings": {"batch": 128},
        "device": "cpu",
        "accuracy": figure,
        "mAP": figure + 0.02 + 0.001 * seed * (arm == "ours-detail"),
        "balanced_accuracy": figure,
        "recall": [figure, 1 - figure],
        "classes": ["glad", "sad"],
        "versions": {"torch": "2.11"},
        "images_per_s": 9.0,
        "images": 10,
    }
    return run | changed


@pytest.fixture
def runs():
    return [make(arm, seed, mean) for seed in range(3) for arm, mean in ARMS.items()]
