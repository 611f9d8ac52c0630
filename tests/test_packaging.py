"""The wheel and the source archive, built for real; in ``slow``, installed where nothing else is."""

import email
import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import semantic_aug
from tests.conftest import write_folder

ROOT = Path(__file__).parents[1]
INFO = f"semantic_aug-{semantic_aug.__version__}.dist-info"
CHECKPOINT_FILES = (
    "README.md",
    "config.json",
    "model.safetensors",
    "preview.png",
    "statistics.safetensors",
)
OPTIONAL_FILES = ("examples.png", "samples.png")
OF_TRAIN = {"accelerate", "lpips", "tensorboard"}
OPTIONAL = OF_TRAIN | {"datasets", "hypothesis", "lightning", "sklearn", "skimage", "timm", "torchmetrics"}


def build(kind, tree, folder):
    """The ``sdist`` or ``wheel`` of a source tree."""
    pytest.importorskip("hatchling", reason="hatchling is not installed (extra test)")
    command = [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", folder]
    subprocess.run([str(word) for word in command], cwd=tree, capture_output=True, text=True, check=True)
    (made,) = folder.iterdir()
    return made


def metadata_of(wheel):
    return email.message_from_bytes(zipfile.ZipFile(wheel).read(f"{INFO}/METADATA"))


def active(lines, *extras):
    """The requirements among ``lines`` that hold here, with those of ``extras``."""
    for requirement in map(Requirement, lines or []):
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": e}) for e in ("", *extras)):
            yield requirement


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    return build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def unpacked(sdist, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))  # since 3.10.12
    (tree,) = folder.iterdir()
    return tree


@pytest.fixture(scope="module")
def wheel(unpacked, tmp_path_factory):
    return build("wheel", unpacked, tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_the_package_and_its_checkpoints_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "semantic_aug").rglob("*.py")}
    checkpoints = {
        f"semantic_aug/checkpoints/{folder.name}/{file}"
        for folder in (ROOT / "checkpoints").iterdir()
        for file in (*CHECKPOINT_FILES, *OPTIONAL_FILES)
        if file in CHECKPOINT_FILES or (folder / file).exists()
    }
    about = {f"{INFO}/{file}" for file in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")}
    assert sorted(names) == sorted(modules | checkpoints | about | {"semantic_aug/py.typed"})
    assert {"semantic_aug/checkpoints/fer2013-48/model.safetensors", "semantic_aug/trainer/loop.py"} <= set(names)


def test_the_metadata(wheel):
    archive = zipfile.ZipFile(wheel)
    about = metadata_of(wheel)
    needed = {requirement.name for requirement in active(about.get_all("Requires-Dist"))}
    assert needed == {"torch", "torchvision", "safetensors", "huggingface-hub", "filelock", "tqdm"}
    assert {"train", "bench", "demo", "docs", "ray", "test", "completion"} <= set(about.get_all("Provides-Extra"))
    assert about["Version"] == semantic_aug.__version__
    assert about["Requires-Python"] == ">=3.10"
    assert about["License-Expression"] == "Apache-2.0"
    assert about.get_payload(decode=True).decode() == (ROOT / "README.md").read_text(encoding="utf-8")
    script = archive.read(f"{INFO}/entry_points.txt").decode()
    assert "semantic-aug = semantic_aug.cli.main:main" in script


def test_the_source_archive_builds_the_same_wheel_as_the_tree(wheel, unpacked, tmp_path):
    assert wheel.read_bytes() == build("wheel", ROOT, tmp_path).read_bytes()
    for folder in ("tests", "examples", "benchmarks", "docs", ".ci"):
        assert (unpacked / folder).is_dir(), folder


# --- Installed where nothing else is ----------------------------------------------------------------------------------


def closure(lines, *extras):
    """The installed distributions that ``lines`` require, those that these require, and so on."""
    found, todo = {}, list(active(lines, *extras))
    while todo:
        requirement = todo.pop()
        key = (requirement.name.lower(), *sorted(requirement.extras))
        if key not in found:
            found[key] = metadata.distribution(requirement.name)
            todo += active(found[key].requires, *requirement.extras)
    return found.values()


def install(wheel, folder, *extras):
    """The programs of a new environment: the wheel, and links to what it requires, as pip would download it."""
    venv.create(folder)
    (site,) = folder.glob("lib/python*/site-packages")
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--no-deps", "--no-index"]
    subprocess.run([str(word) for word in (*pip, wheel)], capture_output=True, check=True)
    for distribution in closure(metadata_of(wheel).get_all("Requires-Dist"), *extras):
        for name in {file.parts[0] for file in distribution.files} - {"..", "__pycache__"}:
            if not (site / name).exists():
                (site / name).symlink_to(distribution.locate_file(name))
    return folder / "bin"


def output(program, *arguments, folder):
    """What a program of the new environment prints; warnings are errors, and nothing points to this tree."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(word) for word in (program, *arguments)]
    done = subprocess.run(
        command, cwd=folder, env=environment | {"PYTHONWARNINGS": "error"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def optional_packages(programs, folder):
    code = f"import importlib.util as u; print(*(name for name in {sorted(OPTIONAL)} if u.find_spec(name)))"
    return set(output(programs / "python", "-c", code, folder=folder).split())


@pytest.mark.slow
def test_the_run_time_requirements_are_enough_for_the_demo(wheel, tmp_path):
    programs = install(wheel, tmp_path / "venv")
    assert optional_packages(programs, tmp_path) == set()
    assert "wrote semantic-aug-demo.png" in output(programs / "semantic-aug", "demo", folder=tmp_path)
    text = output(programs / "python", "-m", "semantic_aug", "inspect", "fer2013-48", folder=tmp_path)
    assert text.startswith(f"semantic-aug/1 at {tmp_path}/venv/")


@pytest.mark.slow
def test_the_extra_train_is_enough_to_train_and_evaluate(wheel, tmp_path, torch_home):
    programs = install(wheel, tmp_path / "venv", "train")
    assert optional_packages(programs, tmp_path) == OF_TRAIN
    write_folder(tmp_path / "faces")
    train = ("train", "faces", "--output", "run", "--preset", "tiny", "--images", "64", "--device", "cpu")
    output(programs / "semantic-aug", *train, folder=tmp_path)
    fit = ("fit", "run/checkpoint", "faces", "--output", "fitted", "--device", "cpu")
    assert "wrote fitted: 18 images, 3 classes" in output(programs / "semantic-aug", *fit, folder=tmp_path)
    evaluate = ("evaluate", "fitted", "faces", "--train", "faces", "--device", "cpu")
    assert '"agreement"' in output(programs / "semantic-aug", *evaluate, folder=tmp_path)
