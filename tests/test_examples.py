"""Every example, run at tiny size on the bundled checkpoint; each must really have augmented."""

import importlib.util
import json
import logging
import math
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import scipy.stats
import torch
from PIL import Image

from semantic_aug import Artifact, transform
from semantic_aug.model.networks import PRESETS
from tests.conftest import write_folder
from tests.forks import launch, run_script

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name):
    """The example as a module."""
    specification = importlib.util.spec_from_file_location(f"examples_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def faces(tmp_path, monkeypatch):
    """Folders ``train`` and ``validation`` of the checkpoint's classes, the current folder beside them."""
    classes = Artifact.from_pretrained("fer2013-48").classes
    for split in ("train", "validation"):
        write_folder(tmp_path / split, 5, size=48, classes=classes, seed=len(split))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def augmented(monkeypatch):
    """Counts the images augmented in this process."""
    count = [0]
    original = transform.semantic_augment_image

    def counting(image, *arguments, **keywords):
        count[0] += len(image)
        return original(image, *arguments, **keywords)

    monkeypatch.setattr(transform, "semantic_augment_image", counting)
    return count


def test_every_example_is_tested():
    tests = Path(__file__).read_text()
    for path in EXAMPLES.rglob("*.py"):
        assert f'load("{path.relative_to(EXAMPLES).with_suffix("")}")' in tests, path


def test_quickstart(faces, augmented):
    load("quickstart").main(str(faces / "train"), "out.png", workers=0)
    with Image.open("out.png") as picture:
        assert picture.size == (8 * 50 + 2, 5 * 50 + 2)
    assert 5 < augmented[0] < 30


def test_the_space_shows_images_that_may_be_shown(monkeypatch):
    """Without Gradio. ``tests/app/test_page.py`` serves it."""
    space, served = load("space/app"), []
    monkeypatch.setattr(space, "serve", lambda *arguments: served.append(arguments))
    space.main()
    ((artifact, name, images),) = served
    assert artifact.directory.name == name
    assert images.name == "the examples of the checkpoint"


def test_imbalanced_training(faces, augmented, monkeypatch, capsys):
    example = load("imbalanced_training")
    per_arm = []
    monkeypatch.setattr(example, "evaluate", lambda *a, f=example.evaluate: (per_arm.append(augmented[0]), f(*a))[1])
    monkeypatch.setattr(example, "BATCH", 8)
    arguments = [str(faces / "train"), str(faces / "validation"), "--epochs", "4", "--width", "4", "--seeds", "2"]
    differences = example.main(arguments)
    assert len(differences) == 2
    assert per_arm[0] == 0 < per_arm[1] == per_arm[2] < per_arm[3], "only every second arm augments"
    assert "ours minus RandAugment alone: " in capsys.readouterr().out


def test_the_interval_of_imbalanced_training_is_scipys():
    example, differences = load("imbalanced_training"), [1.0, 2.5, 0.5]
    low, high = scipy.stats.t.interval(0.95, 2, statistics.mean(differences), scipy.stats.sem(differences))
    assert example.interval(differences) == f"+1.33 [{low:+.2f}, {high:+.2f}]"


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_timm_loader(faces, augmented):
    losses = load("timm_loader").main(str(faces / "train"), steps=2, workers=0)
    assert len(losses) == 2
    assert all(math.isfinite(loss) for loss in losses)
    assert augmented[0] > 5


@pytest.mark.filterwarnings("ignore::FutureWarning:lightning")
@pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*does not have many workers")
def test_lightning_datamodule(faces, augmented, monkeypatch):
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    example = load("lightning_datamodule")
    epochs = []
    sampler = example.ClassBalancedSampler
    monkeypatch.setattr(sampler, "set_epoch", lambda self, epoch: epochs.append(epoch))
    classifier = example.main(
        str(faces / "train"),
        epochs=2,
        workers=0,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    assert augmented[0] > 10
    assert epochs == [0, 1], "Lightning tells the sampler the epoch"
    plain = example.Classifier(7)
    assert classifier.state_dict().keys() == plain.state_dict().keys()


def test_huggingface_datasets(faces, augmented, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    data, loader = load("huggingface_datasets").main(str(faces / "train"), workers=0)
    assert len(data) == 35
    for batch in loader:
        assert batch["pixel_values"].shape[1:] == (3, 48, 48)
        assert batch["labels"].dtype == torch.int64
    assert 5 < augmented[0] < 30


def test_compiled_step(faces, augmented):
    torch.compiler.reset()
    losses = load("compiled_step").main(str(faces / "train"), steps=3, workers=0, backend="eager")
    assert all(math.isfinite(loss) for loss in losses)
    assert augmented[0] > 5
    torch.compiler.reset()


def test_compositions(faces, augmented):
    one_by_one, mixed = load("compositions").main(str(faces / "train"), workers=0)
    images, labels = next(iter(one_by_one))
    assert images.shape == (32, 3, 48, 48)
    assert 5 < augmented[0] < 28
    before = augmented[0]
    images, labels = next(iter(mixed))
    assert images.shape == (32, 3, 48, 48)
    assert labels.shape == (32, 7)
    assert torch.allclose(labels.sum(1), torch.ones(32))
    assert augmented[0] > before


# Run by each process: what it was given, how many images it augmented, and the weights it ends with.
PROCESS = """
import json, os, sys
sys.path.insert(0, {examples!r})
import distributed_training as example
from semantic_aug import transform

indices, augmented = [], []
draw, original = example.ClassBalancedSampler.__iter__, transform.semantic_augment_image
example.ClassBalancedSampler.__iter__ = lambda self: (indices.append(i) or i for i in draw(self))

def counting(image, noise, *arguments, **keywords):
    augmented.append(float(noise.sum()))
    return original(image, noise, *arguments, **keywords)

transform.semantic_augment_image = counting
model = example.main("train", epochs=2, workers=0)
weights = float(sum(parameter.double().abs().sum() for parameter in model.parameters()))
json.dump([indices, augmented, weights], open(f"rank{{os.environ['RANK']}}.json", "w"))
"""


def test_distributed_training(faces):
    assert load("distributed_training").main  # the same file that the processes import
    Path("process.py").write_text(PROCESS.format(examples=str(EXAMPLES)))
    said = launch(run_script, "process.py")
    assert re.findall(r"^epoch (\d): loss [\d.]+ in 2 processes$", said, re.MULTILINE) == ["0", "1"], said
    (indices, noise, weights), (others, other_noise, other_weights) = (
        json.loads(Path(f"rank{rank}.json").read_text()) for rank in (0, 1)
    )
    assert len(indices) == len(others) == 2 * 18, "two epochs of half of 35 images, rounded up"
    assert len({*indices[:18], *others[:18]}) == 35, "every image once, and one of them twice"
    assert noise, "the first epoch is augmented"
    assert set(noise).isdisjoint(other_noise), "with noise of its own on every process"
    assert weights == other_weights


def test_train_on_folder(faces, augmented, torch_home):
    batches = load("train_on_folder").main("train", "run", network=PRESETS["tiny"], images=64)
    images, _ = next(iter(batches))
    assert images.shape == (35, 3, 32, 32)
    assert 5 < augmented[0] < 30
    assert batches.augment.artifact.directory == Path("run/checkpoint").absolute()
    assert batches.augment.artifact.training["images_seen"] == 64
    assert batches.augment.artifact.statistics.count.tolist() == [5] * 7, "held-out images are counted too"


def test_an_example_as_a_process_with_workers(faces):
    few_cores = "ignore:This DataLoader will create:UserWarning"
    command = [sys.executable, "-W", "error", "-W", few_cores, EXAMPLES / "compositions.py", "train"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["(32, 3, 48, 48) (32,)", "(32, 3, 48, 48) (32, 7)"], done.stderr
