"""Training, stopped in every way."""

import os
import re
import signal
import time
from pathlib import Path

import pytest
from PIL import Image

from semantic_aug import Artifact
from semantic_aug.cli import main as cli
from tests.cli.conftest import RUN, run, train_command
from tests.conftest import CLASSES, write_folder
from tests.forks import start


def test_training_data_and_validation_data_must_fit(folder, tmp_path, line, torch_home):
    train = ("train", folder, "--output", tmp_path / "o", "--preset", "tiny", "--device", "cpu")
    other, single = write_folder(tmp_path / "other", 2, classes=["joy", "sad"]), write_folder(tmp_path / "single", 1)
    assert run(*train, "--validation", other) == 2
    assert "unknown classes ['joy']: got ['joy', 'sad']" in line()
    assert run("train", single, *train[2:]) == 2
    assert "no class has two images" in line()
    assert not (tmp_path / "o" / "log.jsonl").exists()


def test_validation_labels_are_matched_by_name(folder, tmp_path, torch_home, monkeypatch):
    given = []
    monkeypatch.setattr("semantic_aug.trainer.loop.train", lambda *arguments, **_: given.extend(arguments))
    held_out = write_folder(tmp_path / "held_out", 2, classes=["Sad", "happy"])
    assert run("train", folder, "--output", tmp_path / "o", "--preset", "tiny", "--validation", held_out) == 0
    assert given[2].classes == CLASSES
    assert [CLASSES[label] for label in given[2].labels.tolist()] == ["sad", "sad", "happy", "happy"]


def test_an_empty_class_and_a_corrupt_image_are_named(folder, tmp_path, line):
    arguments = ("train", folder, "--output", tmp_path / "o", "--preset", "tiny")
    (folder / "joy").mkdir()
    assert run(*arguments) == 2
    assert "joy: no images in this class folder" in line()
    (folder / "joy" / "a.jpg").write_bytes(b"broken")
    (folder / "joy" / "b.jpg").write_bytes((folder / "sad" / "0.png").read_bytes())
    assert run(*arguments) == 2
    assert "joy/a.jpg: cannot be read" in line()
    assert not (tmp_path / "o").exists()


def test_train_end_to_end_killed_and_resumed(folder, tmp_path, torch_home, capsys):
    """kill -9 in the middle, run again: the same artifact as of a run that was left alone."""
    # 20 steps, the first state after 2 of them.
    more = ("--images", "320", "--batch", "16", "--precision", "fp32", "--set", "classifier_epochs=2")
    words = train_command(folder, tmp_path / "cut", *more)[len(RUN) :]
    process = start(cli.main, words, output=tmp_path / "printed")
    states = tmp_path / "cut" / "state"
    while not list(states.glob("*.safetensors")) and process.is_alive():
        time.sleep(0.005)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL, "it ended before it was killed"
    assert not (tmp_path / "cut" / "checkpoint").exists()
    for name in ("cut", "whole"):
        assert run(*train_command(folder, tmp_path / name, *more)[len(RUN) :]) == 0
    out, written = capsys.readouterr().out, tmp_path / "whole" / "checkpoint"
    assert re.search(rf"\nwrote {re.escape(str(written))}, L1 0\.\d+ on \d+ held-out images\n", out)
    assert f'next: use it with SemanticAugment(checkpoint="{written}"), measure it with semantic-aug evaluate\n' in out
    files = ("model.safetensors", "statistics.safetensors")
    for file in files:
        cut, whole = ((tmp_path / name / "checkpoint" / file).read_bytes() for name in ("cut", "whole"))
        assert cut == whole
    artifact = Artifact.from_pretrained(tmp_path / "cut" / "checkpoint")
    assert artifact.training["images_seen"] <= 320  # of the best snapshot
    assert artifact.statistics.count.tolist() == [6, 6, 6]  # held-out images count in the statistics


@pytest.mark.parametrize("name", ["state", "log.jsonl", "tensorboard", "previews"])
def test_a_link_in_a_prepared_output_is_not_followed(folder, tmp_path, torch_home, line, name):
    (tmp_path / "others").mkdir()
    (tmp_path / "o").mkdir()
    (tmp_path / "others" / "000000000001.safetensors").write_text("mine")
    target = tmp_path / "others"
    (tmp_path / "o" / name).symlink_to(target / "000000000001.safetensors" if name == "log.jsonl" else target)
    assert run(*train_command(folder, tmp_path / "o", "--images", "64")[len(RUN) :]) == 2
    assert f"{name} is a link" in line().split("\n")[-2]
    assert [path.read_text() for path in target.iterdir()] == ["mine"]


def test_images_that_changed_between_two_sittings_are_refused(folder, tmp_path, torch_home, capsys):
    command = train_command(folder, tmp_path / "o", "--images", "640", "--minutes", "0.0001")[len(RUN) :]
    assert run(*command) == 0
    Image.new("L", (32, 32), 77).save(folder / "sad" / "0.png")
    capsys.readouterr()
    assert run(*command) == 2
    assert "the training images have changed since; choose another --output" in capsys.readouterr().err


def test_a_path_that_is_not_utf8_is_kept(folder, tmp_path, torch_home):
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/f\xe4ces"))
    os.rename(folder, odd)
    assert run(*train_command(odd, tmp_path / "o", "--images", "64")[len(RUN) :]) == 0
    command = Artifact.from_pretrained(tmp_path / "o" / "checkpoint").training["command"]
    assert r"f\udce4ces" in command
    for output in ("a.png", "a.html"):
        assert run("preview", tmp_path / "o" / "checkpoint", odd, "--output", tmp_path / output) == 0


def test_a_training_works_alone_in_its_folder_and_interrupted_says_how_to_go_on(folder, tmp_path, torch_home, line):
    words = train_command(folder, tmp_path / "o", "--set", "classifier_epochs=1")[len(RUN) :]
    process, output = start(cli.main, words, output=tmp_path / "printed"), tmp_path / "printed"
    try:
        while not output.exists() or "starting at 0 of 300000 images" not in output.read_text():
            assert process.is_alive()
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGSTOP)
        assert run(*words) == 2
        assert f"{tmp_path / 'o'}: another process works on it; wait for it, or choose another one" in line()
        os.kill(process.pid, signal.SIGCONT)
        time.sleep(0.5)
        os.kill(process.pid, signal.SIGINT)
        process.join(timeout=600)
    finally:
        process.kill()
    assert process.exitcode == 130
    assert "the same command goes on" in output.read_text()
    assert "Traceback" not in output.read_text()
    assert len(list((tmp_path / "o" / "state").glob("*.safetensors"))) == 1


@pytest.mark.usefixtures("precision_of_its_own")
def test_train_minutes_validation_one_class_and_bfloat16(tmp_path, torch_home, capsys):
    folder, more = write_folder(tmp_path / "one", classes=["only"]), ("--images", "128", "--precision", "bf16")
    command = train_command(folder, tmp_path / "o", *more, "--validation", folder)[len(RUN) :]
    assert run(*command, "--minutes", "0.0001") == 0
    first = capsys.readouterr().out
    assert "one class only (only)" in first
    assert "only 6 held-out images: errors measured on so few are rough; use more of them" in first
    assert "the same command goes on" in first
    assert run(*command) == 0
    assert "going on at 64 of 128 images, 6 to train on, 6 held out" in capsys.readouterr().out
    training = Artifact.from_pretrained(tmp_path / "o" / "checkpoint").training
    assert training["settings"]["precision"] == "bf16"
    words = (
        "semantic-aug train one --output o --preset tiny --device cpu --images 128 --precision bf16 --validation one"
    )
    assert training["command"] == words, "without the paths of somebody's machine"


def test_train_fine_tunes_a_cut_data_set(saved, folder, tmp_path, capsys, torch_home):
    """--init takes the networks, --imbalance the images, --sampling the order; the state knows all of them."""
    common = ["train", folder, "--output", tmp_path / "o", "--init", saved, "--imbalance", "3", "--device", "cpu"]
    common += ["--batch", "8", "--accumulate", "2", "--sampling", "balanced"]
    assert run(*common, "--images", "16") == 0
    artifact = Artifact.from_pretrained(tmp_path / "o" / "checkpoint")
    assert artifact.network == Artifact.from_pretrained(saved).network
    assert artifact.statistics.count.tolist() == [6, 3, 2]
    out = capsys.readouterr().out
    assert "cut to imbalance 3: 11 images of 3 classes: angry 6, happy 3, sad 2\n" in out
    assert "only 1 held-out image: errors measured on so few are rough; name others with --validation DATA\n" in out
    before, after = Artifact.from_pretrained(saved).encoder.state_dict(), artifact.encoder.state_dict()
    moved = max(float((after[name] - before[name]).abs().max()) for name in before if name.endswith("weight"))
    assert 0 < moved < 0.01, "two steps from where it started"
    assert run(*common, "--images", "16", "--sampling", "natural") == 2
    assert "sampling: balanced there, natural here" in capsys.readouterr().err


def test_train_without_lpips_weights_names_the_file(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "empty"))
    monkeypatch.setattr("urllib.request.urlopen", offline)
    monkeypatch.setattr("torch.hub.urlopen", offline, raising=False)  # where older versions have it
    assert run("train", folder, "--output", tmp_path / "o", "--preset", "tiny", "--device", "cpu") == 2
    said = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("Downloading: ")]  # by torch
    assert len(said) == 1
    assert str(tmp_path / "empty" / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth") in said[0]


def offline(*_, **__):
    raise OSError("no network")
