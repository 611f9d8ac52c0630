import contextlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from semantic_aug import Artifact, LatentCache
from semantic_aug.data.source import Source
from semantic_aug.images import file_to_bytes
from semantic_aug.latents import LatentsError
from tests.cli.conftest import run
from tests.forks import fork


def test_encode_leaves_out_what_cannot_be_read(saved, folder, tmp_path, capsys, line):
    (folder / "sad" / "broken.png").write_bytes(b"x")
    encode = ("encode", saved, folder, "--output", tmp_path / "a")
    assert run(*encode) == 2
    assert "--skip-bad leaves them out" in line()
    assert run(*encode, "--skip-bad") == 0
    data = ImageFolder(folder, is_valid_file=lambda path: "broken" not in path)
    assert len(LatentCache.load(tmp_path / "a", Artifact.from_pretrained(saved), data)) == 18


def test_encode_writes_what_an_image_folder_loads(saved, folder, tmp_path, capsys):
    for name, more in (("a", []), ("b", ["--reconstructions"])):
        assert run("encode", saved, folder, "--output", tmp_path / name, "--device", "cpu", *more) == 0
    out, written = capsys.readouterr().out, tmp_path / "a"
    assert f"wrote {written}: 18 images, 0.0 MB\n" in out
    assert f'next: load it with LatentCache.load("{written}", augment.artifact, dataset)\n' in out
    artifact, data = Artifact.from_pretrained(saved), ImageFolder(folder)
    plain, whole = (LatentCache.load(tmp_path / name, artifact, data) for name in ("a", "b"))
    assert torch.equal(plain.mu, whole.mu)
    assert plain.reconstruction is None
    assert whole.reconstruction.shape == (18, 1, 32, 32)


def test_encode_wants_files_to_know_the_images_by(saved, tmp_path, line, monkeypatch):
    files = [Path(f"torchvision:MNIST/train/{number}") for number in range(2)]
    source = Source("torchvision:MNIST", ["a"], [0, 0], files, lambda *_: torch.zeros(1, 32, 32), [])
    monkeypatch.setattr("semantic_aug.cli.data.find_source", lambda _: source)
    assert run("encode", saved, "torchvision:MNIST", "--output", tmp_path / "l.safetensors") == 2
    assert "torchvision:MNIST has no file for each image; call LatentCache.build" in line()


def test_of_two_processes_that_encode_to_one_file_one_is_refused(saved, folder, tmp_path):
    def encode(name):
        with open(tmp_path / name, "w") as file, contextlib.redirect_stderr(file):
            return run("encode", saved, folder, "--output", tmp_path / "l", "--device", "cpu")

    codes = {}
    for name, process in [(name, fork(encode, name)) for name in ("a", "b")]:
        process.join()
        codes[process.exitcode] = (tmp_path / name).read_text()
    assert sorted(codes) == [0, 2]
    assert "exists" in codes[2]
    assert len(LatentCache.load(tmp_path / "l", Artifact.from_pretrained(saved), ImageFolder(folder))) == 18


def test_images_that_change_between_reading_and_stamping_are_noticed(saved, folder, tmp_path, line, monkeypatch):
    build = LatentCache.build

    def change_and_build(*arguments, **options):
        os.utime(folder / "sad" / "0.png", (1, 1))
        return build(*arguments, **options)

    monkeypatch.setattr(LatentCache, "build", change_and_build)
    assert run("encode", saved, folder, "--output", tmp_path / "l", "--device", "cpu") == 1
    assert "has changed while it was encoded; encode it again" in line()
    assert not (tmp_path / "l").exists()


@pytest.mark.parametrize("kind", ["orientation", "transparency", "16 bits"])
def test_latents_of_the_command_are_refused_where_a_folder_is_read_differently(saved, folder, tmp_path, kind):
    """ImageFolder turns no image upright, and does not lay transparent ones over white."""
    with Image.open(folder / "happy" / "2.png") as file:
        picture = file.convert("L")
    (folder / "happy" / "2.png").unlink()
    exif = Image.Exif()
    if kind == "orientation":
        exif[0x0112] = 6
    elif kind == "transparency":
        picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    else:
        picture = Image.fromarray(np.asarray(picture).astype(np.uint16) * 257)
    picture.save(folder / "happy" / "2.png", exif=exif)
    artifact, path = Artifact.from_pretrained(saved), tmp_path / "latents"
    assert run("encode", saved, folder, "--output", path, "--device", "cpu") == 0
    with pytest.raises(
        LatentsError, match=r"image 8 encodes to something else now .* or it is read without its orient"
    ):
        LatentCache.load(path, artifact, ImageFolder(folder))
    alike = ImageFolder(folder, loader=lambda file: file_to_bytes(file, 3))
    assert len(LatentCache.load(path, artifact, alike)) == 18
