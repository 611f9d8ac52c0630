"""One thread a process, seeds, a tiny artifact, tiny image folders, and a TORCH_HOME whose LPIPS trunk is random."""

import os
import shutil
import subprocess
import warnings

# The tests run on all cores at once (pytest-xdist), so each process gets one thread; those that tests start inherit it.
# ``OMP_NUM_THREADS=2 pytest`` runs them with two.
os.environ["MKL_NUM_THREADS"] = os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import hypothesis
import pytest
import torch
from hypothesis import HealthCheck
from PIL import Image

from semantic_aug import Artifact, ClassStatistics
from semantic_aug.model.networks import PRESETS, Encoder, Generator

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))  # torch may have been imported before, by a plugin
# How long a machine takes is no property.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")

CLASSES = ["angry", "happy", "sad"]


def pytest_xdist_auto_num_workers():
    """For ``-n auto``: a worker for each core that this process may use; with one core, no workers at all."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores if cores > 1 else 0


def build_artifact(
    channels: int = 1,
    classes: list[str] | None = None,
    *,
    size: int = 32,
    conditional: bool = False,
    latent_map: bool = False,
) -> Artifact:
    """An untrained artifact whose decoder answers to its latents, and labels, and whose classes differ."""
    from dataclasses import replace

    classes = classes or CLASSES
    network = replace(
        PRESETS["tiny"], image_size=size, channels=channels, num_classes=len(classes) if conditional else 0
    )
    network = replace(network, latent_map=True, latent_dim=32) if latent_map else network
    with torch.random.fork_rng():
        torch.manual_seed(5)
        encoder, generator = Encoder(network), Generator(network)
        torch.nn.init.normal_(generator.head.weight, std=2.0)
        if conditional:
            for block in generator.blocks:
                torch.nn.init.normal_(block.norm1.modulation.weight)
                torch.nn.init.normal_(block.conv2.weight, std=0.1)
        statistics = ClassStatistics(len(classes), network.latent_dim)
        for label in range(len(classes)):
            spread = torch.randn(network.latent_dim, network.latent_dim) * (label + 1) / 3
            statistics.update(torch.randn(50, network.latent_dim) @ spread, torch.full((50,), label))
    return Artifact(encoder=encoder, generator=generator, network=network, statistics=statistics, classes=classes)


def build_judge(classes: list[str], images: int, size: int = 32):
    """An untrained judge, as of so many training images, whose batch norms are no identities."""
    from semantic_aug.evaluation.classifier import Judge, resnet18

    with torch.random.fork_rng():
        torch.manual_seed(5)
        network = resnet18(1, len(classes))
        network(torch.randn(16, 1, size, size))
    return Judge(network=network, classes=classes, channels=1, size=size, images=images, epochs=1, seed=0)


def write_folder(root, per_class: int = 6, size: int = 32, classes: list[str] | None = None, seed: int = 0):
    """An image folder of smooth random pictures, one brightness per class."""
    generator = torch.Generator().manual_seed(seed)
    for label, name in enumerate(classes or CLASSES):
        (root / name).mkdir(parents=True)
        for number in range(per_class):
            coarse = torch.rand(1, 1, 4, 4, generator=generator) * 0.5 + label / 6
            pixels = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
            array = (pixels[0, 0] * 255).clamp(0, 255).to(torch.uint8).numpy()
            Image.fromarray(array).save(root / name / f"{number}.png")
    return root


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def artifact():
    return build_artifact()


@pytest.fixture(scope="session")
def rgb_artifact():
    return build_artifact(channels=3)


@pytest.fixture
def saved(artifact, tmp_path):
    """The directory of a saved artifact of its own."""
    return build_artifact().save(tmp_path / "saved")


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "faces")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with ``faces/train`` and ``faces/validation`` of the default checkpoint's classes, the current one."""
    classes = Artifact.from_pretrained("fer2013-48").classes
    for split in ("train", "validation"):
        write_folder(tmp_path / "faces" / split, 4, size=48, classes=classes, seed=len(split))
    (tmp_path / "faces" / "train" / "disgust" / "3.png").unlink()  # the tail
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_random_trunk(home):
    """A TORCH_HOME with a random SqueezeNet: the real loading code without the real weights."""
    from torchvision.models import squeezenet1_1

    (home / "hub" / "checkpoints").mkdir(parents=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weights = squeezenet1_1(weights=None).state_dict()
    torch.save(weights, home / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth")
    return home


@pytest.fixture(scope="session")
def random_trunk(tmp_path_factory):
    return write_random_trunk(tmp_path_factory.mktemp("torch-home"))


@pytest.fixture
def torch_home(random_trunk, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(random_trunk))
    return random_trunk


@pytest.fixture
def precision_of_its_own():
    """accelerate keeps the precision of a process's first training; here it forgets it, before a test and after."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()
    yield
    AcceleratorState._reset_state()


@pytest.fixture(scope="session")
def fer2013():
    """FER2013 as an image folder, where FER2013_ROOT says."""
    root = os.environ.get("FER2013_ROOT")
    if not root:
        pytest.skip("FER2013_ROOT is not set: it names a folder with FER2013's train/, validation/ and test/")
    from pathlib import Path

    return Path(root)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub on this machine, which this process's client asks, with an empty cache and no token."""
    from tests.hub_server import Hub

    server = Hub()
    server.connect(monkeypatch, tmp_path / "hub-home")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Use 'content=", DeprecationWarning)  # the client's own, when it uploads
        yield server
    server.close()


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 64 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)  # a failed test may have left a file open


@pytest.fixture
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "no class names are known", UserWarning)
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)  # on a machine with one core
        yield


@pytest.fixture
def line(capsys):
    """The single line on stderr."""

    def read():
        text = capsys.readouterr().err
        assert text.count("\n") == 1, text
        return text

    return read
