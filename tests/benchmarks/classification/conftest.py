import pytest

from tests.conftest import build_artifact, write_folder


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    """``train`` with a long tail, ``validation`` and ``test``, and a checkpoint of their classes."""
    root = tmp_path_factory.mktemp("faces")
    write_folder(root / "train", 12, seed=1)
    for number in range(4, 12):
        (root / "train" / "sad" / f"{number}.png").unlink()
    for seed, split in enumerate(("validation", "test"), 2):
        write_folder(root / split, 4, seed=seed)
    build_artifact().save(root / "checkpoint")
    return root


@pytest.fixture
def command(root, tmp_path):
    """Words of a tiny run; figures go to ``runs.jsonl``."""
    return [
        "tiny",
        "--train",
        str(root / "train"),
        "--validation",
        str(root / "validation"),
        "--test",
        str(root / "test"),
        "--checkpoint",
        str(root / "checkpoint"),
        "--epochs",
        "2",
        "--results",
        str(tmp_path / "runs.jsonl"),
        "--device",
        "cpu",
        "--more-labels",
    ]
