"""Every verb, as a process where exit codes and signals matter, else in this process."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from semantic_aug import Artifact, cli
from semantic_aug.latents import LatentCache
from semantic_aug.trainer.data import ImageSet
from tests.conftest import CLASSES, build_artifact, write_folder
from tests.hub_server import TOKEN

VERBS = ("demo", "train", "fit", "encode", "expand", "evaluate", "preview", "app", "inspect", "push")
RUN = [sys.executable, "-m", "semantic_aug"]


def run(*arguments):
    return cli.main([str(argument) for argument in arguments])


def train_command(folder, output, *more):
    command = ("train", folder, "--output", output, "--preset", "tiny", "--device", "cpu", *more)
    return [*RUN, *(str(argument) for argument in command)]


# --- Help and errors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_an_example(verb, capsys):
    with pytest.raises(SystemExit) as caught:
        run(verb, "--help")
    assert caught.value.code == 0
    assert f"example: semantic-aug {verb} " in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    "arguments", [[], ["fly"], ["train"], ["train", "x", "--preset", "tiny"], ["inspect", "a", "b"]]
)
def test_wrong_arguments_exit_2(arguments):
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == 2


TRAIN = ["train", "{folder}", "--output", "{tmp}/o", "--preset", "tiny"]
PREVIEW = ["preview", "{saved}", "{folder}", "--output", "{tmp}/a.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*TRAIN, "--preset", "huge"], "unknown preset 'huge'; there are tiny, fer2013-48"),
        (TRAIN[:4], "--preset is needed (tiny, fer2013-48"),
        (["train", "{folder}", "--output", "{tmp}/o", "--init", "{tmp}/no"], "no checkpoint"),
        ([*TRAIN, "--init", "{saved}"], "--preset cannot be given too"),
        ([*TRAIN, "--batch", "9"], "batch must be a multiple of 4"),
        ([*TRAIN, "--accumulate", "0"], "accumulate must be above 0, got 0"),
        ([*TRAIN, "--imbalance", "0.5"], "--imbalance must be at least 1"),
        (["train", "torchvision:Faces", *TRAIN[2:]], "torchvision"),
        (
            [*TRAIN, "--set", "kl_weigth=1"],
            "--set takes NAME=VALUE, got 'kl_weigth=1'; names are learning_rate, decay,",
        ),
        ([*TRAIN, "--set", "kl_weight"], "--set takes NAME=VALUE, got 'kl_weight'"),
        ([*TRAIN, "--set", "seed=1"], "--set takes NAME=VALUE, got 'seed=1'"),
        ([*TRAIN, "--set", "kl_weight=small"], "--set kl_weight: expected a number, got 'small'"),
        ([*TRAIN, "--set", "classifier_epochs=1.5"], "--set classifier_epochs: expected a whole number, got '1.5'"),
        ([*TRAIN, "--set", "diffaugment=1"], "--set diffaugment: expected true or false, got '1'"),
        ([*TRAIN, "--set", "kl_weight=-1"], "kl_weight must be at least 0, got -1"),
        ([*TRAIN, "--set", "network.depth=1"], "got 'network.depth=1'; names are latent_dim, width,"),
        (
            ["train", "{folder}", "--output", "{tmp}/o", "--init", "{saved}", "--set", "network.width=8"],
            "--init brings its networks, so network.width cannot be set",
        ),
        (["train", "kaggle:faces", *TRAIN[2:]], "'kaggle' is no known kind of data"),
        ([*TRAIN, "--device", "cuda:9"], "device 'cuda:9' is not there; this machine has "),
        ([*TRAIN, "--images", "0"], "images must be above 0, got 0"),
        ([*TRAIN, "--minutes", "0"], "--minutes must be above 0"),
        (["train", "{folder}", "--output", "{folder}/o", "--preset", "tiny"], "whose images would then change"),
        (
            ["expand", "{saved}", "{folder}", "--output", "{tmp}/o", "--times", "2", "--verify", "0"],
            "at least 1, got 0",
        ),
        (["evaluate", "{saved}", "{folder}", "--compared", "0"], "--compared must be at least 2, got 0"),
        ([*TRAIN, "--validation", "{tmp}/no"], "no such folder"),
        ([*TRAIN, "--output", "{folder}/angry/0.png"], "is a file; --output takes a directory"),
        (["train", "{tmp}/no", *TRAIN[2:]], "no such folder"),
        (["train", "{folder}/angry", *TRAIN[2:]], "no sub-folders"),
        (["inspect", "nothing"], "no checkpoint 'nothing'"),
        (["inspect", "{folder}"], "config.json: missing"),
        (["push", "{saved}", "mine"], "such as 'user/repo', got 'mine'"),
        ([*PREVIEW, "--output", "{tmp}/no/a.png"], "no such folder to write a.png to"),
        ([*PREVIEW, "--per-class", "0"], "--per-class must be at least 1"),
        ([*PREVIEW, "--output", "{tmp}/a.jpg"], "--output must end in .png or .html, got a.jpg"),
        ([*PREVIEW, "--figure", "walks"], "unknown figure 'walks'; there are counts, augmentations"),
        (["preview", "{saved}", "{other}", *PREVIEW[3:]], "unknown classes ['joy']"),
        (["demo", "{tmp}/no", "--checkpoint", "{saved}", "--output", "{tmp}/a.png"], "no such folder"),
        (["fit", "{saved}", "{folder}", "--output", "{saved}"], "exists; choose another --output"),
        (["fit", "{saved}", "{single}", "--output", "{tmp}/fitted"], "no class has two images"),
        (["encode", "{saved}", "{folder}", "--output", "{saved}/config.json"], "exists; choose another --output"),
        (["encode", "{saved}", "{folder}", "--output", "{tmp}/no/l.safetensors"], "no such folder to write l.safe"),
        (["encode", "{saved}", "{tmp}/no", "--output", "{tmp}/l.safetensors"], "no such folder"),
        (["evaluate", "{saved}", "{tmp}/no"], "no such folder"),
        (["evaluate", "{saved}", "{folder}", "--picture", "{tmp}/v.gif"], "--picture must end in .png, got v.gif"),
        (["demo", "{folder}", "--output", "{tmp}/demo.xyz"], "--output must end in .png, got demo.xyz"),
        (["evaluate", "{saved}", "{folder}", "--json", "{tmp}/no/a.json"], "no such folder to write a.json to"),
        (["evaluate", "{saved}", "{folder}", "--judge", "{tmp}/j"], "no such judge; --train DATA trains it"),
        (["evaluate", "{saved}", "{folder}", "--judge", "{saved}/config.json"], "config.json"),
    ],
)
def test_what_is_refused_exits_2_with_one_line(arguments, message, folder, saved, tmp_path, line, torch_home):
    write_folder(tmp_path / "other", 2, classes=["joy", "sad"])
    write_folder(tmp_path / "single", 1)
    places = {
        "folder": folder,
        "saved": saved,
        "tmp": tmp_path,
        "other": tmp_path / "other",
        "single": tmp_path / "single",
    }
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    assert run(*(argument.format(**places) for argument in arguments)) == 2
    text = line()
    assert text.startswith(f"semantic-aug {arguments[0]}: ")
    assert message in text
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("word", "recorded"),
    [
        ("train", "train"), ("/data/faces/train/", "train"), ("faces/", "faces"), ("user/repo@v1", "user/repo@v1"),
        ("torchvision:FashionMNIST/test@/data/x", "torchvision:FashionMNIST/test"), ("--output=/tmp/o", "--output=o"),
        ("--images=8", "--images=8"), ("-1", "-1"),
    ],
)  # fmt: skip
def test_what_is_recorded_of_a_command(word, recorded, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faces").mkdir()
    assert cli._recorded(word) == recorded


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
    monkeypatch.setattr("semantic_aug.verbs.train.train", lambda *arguments, **_: given.extend(arguments))
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


def test_a_failure_while_working_exits_1(saved, folder, tmp_path, line, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("semantic_aug.artifact.save_file", full)
    assert run("fit", saved, folder, "--output", tmp_path / "fitted") == 1
    assert "No space left on device" in line()
    assert not (tmp_path / "fitted").exists()


def test_a_reader_that_has_seen_enough_is_no_error(saved):
    command = f"{shlex.join(RUN)} inspect {shlex.quote(str(saved))} | true"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_traceback_shows_where(tmp_path, capsys):
    assert run("inspect", tmp_path / "no", "--traceback") == 2
    assert "Traceback" in capsys.readouterr().err


# --- Verbs --------------------------------------------------------------------------------------------------------


def test_inspect_prints_classes_counts_sizes_hashes_and_figures(saved, capsys):
    assert run("inspect", saved) == 0
    out = capsys.readouterr().out
    for name in CLASSES:
        assert re.search(rf"{name} +50", out)
    files = json.loads((saved / "config.json").read_text())["files"]
    for name, file in files.items():
        assert f"{name}: {file['bytes']} bytes, sha256 {file['sha256']}" in out
    for words in ("semantic-aug/1", "encoder: ", "strength: 0.35", "image_size: 32"):
        assert words in out


def test_preview_draws_a_row_per_image(saved, folder, tmp_path, capsys):
    for name in ("a.png", "b.png"):
        assert run("preview", saved, folder, "--output", tmp_path / name, "--per-class", "2") == 0
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.height > 6 * 96
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert f"wrote {tmp_path / 'b.png'}" in capsys.readouterr().out
    assert run("preview", saved, "--output", tmp_path / "samples.png") == 0
    with Image.open(tmp_path / "samples.png") as picture:
        assert picture.width > 10 * 96


def test_preview_draws_any_figure_and_a_page_of_all(saved, folder, tmp_path):
    from semantic_aug.figures import FIGURES

    for name in FIGURES:
        assert run("preview", saved, folder, "--output", tmp_path / f"{name}.png", "--figure", name) == 0
    assert len({(tmp_path / f"{name}.png").read_bytes() for name in FIGURES}) == len(FIGURES)
    for source in ([folder], []):
        assert run("preview", saved, *source, "--output", tmp_path / "page.html") == 0
        text = (tmp_path / "page.html").read_text(encoding="utf-8")
        assert all(f'<section id="{name}">' in text for name in FIGURES)
        assert str(tmp_path) not in text, "a page is shown to others"
        assert ("drawn by the checkpoint itself" in text) == (not source)
    assert run("preview", saved, "--output", tmp_path / "page.html", "--figure", "counts") == 0
    assert (tmp_path / "page.html").read_text(encoding="utf-8").count("<section") == 1


def test_fit_gives_new_classes(saved, tmp_path, capsys):
    folder = write_folder(tmp_path / "pets", 5, classes=["cat", "dog"])
    (folder / "cat" / "broken.png").write_bytes(b"x")
    assert run("fit", saved, folder, "--output", tmp_path / "fitted", "--skip-bad") == 0
    assert "left out 1 images" in capsys.readouterr().out
    fitted, original = Artifact.load(tmp_path / "fitted"), Artifact.load(saved)
    assert fitted.classes == ["cat", "dog"]
    assert fitted.statistics.count.tolist() == [5, 5]
    assert fitted.reconstruction["images"] == 10
    z = torch.randn(2, 8)
    assert torch.equal(fitted.decode(z), original.decode(z))


@pytest.fixture
def measured(tmp_path):
    """A checkpoint that knows how well it reconstructs, which untrained networks do worse than an even grey."""
    artifact = build_artifact()
    artifact.reconstruction = {"l1_mean": 0.1, "l1_std": 0.02}
    return artifact.save(tmp_path / "measured")


def test_fit_says_what_the_networks_make_of_the_images(measured, tmp_path, capsys):
    folder = write_folder(tmp_path / "pets", 5, classes=["cat", "dog"])
    (folder / "emu").mkdir()
    (folder / "cat" / "0.png").rename(folder / "emu" / "0.png")
    assert run("fit", measured, folder, "--output", tmp_path / "fitted") == 0
    out, err = capsys.readouterr()
    assert "the pooled one is taken: emu (1)\n" in out
    fitted = Artifact.load(tmp_path / "fitted")
    error = fitted.reconstruction["l1_mean"]
    assert f"reconstruction error (L1) {error:.3f}; of {measured} on images of its own 0.100" in out
    assert "warning: these images do not look like" in err
    assert fitted.training["fitted_from"] == "measured"


def test_expand_says_so_too(measured, folder, tmp_path, capsys):
    assert run("expand", measured, folder, "--output", tmp_path / "o", "--per-class", "2") == 0
    out, err = capsys.readouterr()
    assert "18 originals, 0 new images: every class has as many images as are asked for\n" in out
    assert "warning: these images do not look like" in err


def test_encode_leaves_out_what_cannot_be_read(saved, folder, tmp_path, capsys, line):
    (folder / "sad" / "broken.png").write_bytes(b"x")
    encode = ("encode", saved, folder, "--output", tmp_path / "a")
    assert run(*encode) == 2
    assert "--skip-bad leaves them out" in line()
    assert run(*encode, "--skip-bad") == 0
    data = ImageFolder(folder, is_valid_file=lambda path: "broken" not in path)
    assert len(LatentCache.load(tmp_path / "a", Artifact.load(saved), data)) == 18


@pytest.mark.parametrize("verb", ["fit", "evaluate"])
def test_without_the_training_packages_it_says_what_to_install(verb, saved, folder, tmp_path, line, monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    for name in [name for name in sys.modules if name.startswith("semantic_aug.trainer.distributed")]:
        monkeypatch.delitem(sys.modules, name)
    more = ("--output", tmp_path / "fitted") if verb == "fit" else ()
    assert run(verb, saved, folder, *more) == 2
    assert 'pip install "semantic-aug[train]"' in line()


def test_encode_writes_what_an_image_folder_loads(saved, folder, tmp_path, capsys):
    for name, more in (("a", []), ("b", ["--reconstructions"])):
        assert run("encode", saved, folder, "--output", tmp_path / name, "--device", "cpu", *more) == 0
    assert f"wrote {tmp_path / 'a'}: 18 images, 0.0 MB" in capsys.readouterr().out
    artifact, data = Artifact.load(saved), ImageFolder(folder)
    plain, whole = (LatentCache.load(tmp_path / name, artifact, data) for name in ("a", "b"))
    assert torch.equal(plain.mu, whole.mu)
    assert plain.reconstruction is None
    assert whole.reconstruction.shape == (18, 1, 32, 32)


def test_encode_wants_files_to_know_the_images_by(saved, tmp_path, line, monkeypatch):
    images, labels = torch.zeros(2, 1, 32, 32, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64)
    loaded = ImageSet(images, labels, ["a"], [Path("torchvision:MNIST/train/0"), Path("torchvision:MNIST/train/1")])
    monkeypatch.setattr("semantic_aug.verbs.data.load_data", lambda *_, **__: loaded)
    assert run("encode", saved, "torchvision:MNIST", "--output", tmp_path / "l.safetensors") == 2
    assert "torchvision:MNIST has no file for each image; call LatentCache.build" in line()


def test_evaluate_prints_and_writes_the_same_figures(saved, folder, tmp_path, capsys, torch_home):
    assert run("evaluate", saved, folder, "--json", tmp_path / "f.json", "--device", "cpu") == 0
    figures = json.loads((tmp_path / "f.json").read_text())
    out, err = capsys.readouterr()
    assert figures == json.loads(out)
    assert set(figures["reconstruction"]) == {f"{n}_{m}" for n in ("l1", "psnr", "lpips") for m in ("mean", "std")}
    assert "agreement" not in figures
    assert "class agreement is left out" in err


def test_evaluate_trains_a_judge_and_keeps_it(saved, folder, tmp_path, capsys, torch_home):
    common = ("evaluate", saved, folder, "--judge", tmp_path / "judge", "--device", "cpu")
    assert run(*common, "--train", folder, "--picture", tmp_path / "a.png") == 0
    out, err = capsys.readouterr()
    assert "training the judge on 18 real images" in err
    assert {"real", "reconstruction", "detail"} <= json.loads(out)["agreement"].keys()
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.height > 3 * 96
    written = (tmp_path / "judge").read_bytes()
    assert run(*common) == 0
    again, err = capsys.readouterr()
    assert again == out
    assert f"judge: {tmp_path / 'judge'}, trained on 18 images before" in err
    assert (tmp_path / "judge").read_bytes() == written
    few = write_folder(tmp_path / "few", 2)
    assert run(*common, "--train", few) == 2
    assert f"was trained on 18 images, {few} has 6; pass --judge FILE for another" in capsys.readouterr().err
    others = write_folder(tmp_path / "others", 2, classes=["a", "b", "c"])
    assert run("fit", saved, others, "--output", tmp_path / "fitted") == 0
    assert run("evaluate", tmp_path / "fitted", others, *common[3:]) == 2
    assert f"{tmp_path / 'judge'}: the judge knows the classes" in capsys.readouterr().err


def test_push_and_every_verb_takes_what_was_pushed(saved, folder, tmp_path, capsys, line, hub, monkeypatch):
    assert run("push", saved, "user/repo") == 1
    assert "log in with `hf auth login`, or set HF_TOKEN" in line()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert run("push", saved, "user/repo", "--tag", "v1.0", "--private", "--license", "mit", "--message", "First") == 0
    repo = hub.repos["user/repo"]
    assert f'checkpoint="user/repo@{repo.refs["main"]}"' in capsys.readouterr().out
    assert repo.private
    assert repo.tags == {"v1.0": repo.refs["main"]}
    assert run("push", saved, "user/repo", "--tag", "v1.0") == 2
    assert "has a tag 'v1.0'" in line()
    assert run("inspect", "user/repo@v1.0") == 0
    assert run("preview", "user/repo", folder, "--output", tmp_path / "a.png") == 0
    assert run("fit", "user/repo", folder, "--output", tmp_path / "fitted") == 0
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    assert run("inspect", "user/other") == 2
    assert "nor on the Hub: your token (HF_TOKEN, `hf auth login`) is refused" in line()


def test_demo_takes_what_the_others_take(saved, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("semantic_aug.demo.IMAGES", 64)
    (folder / "sad" / "broken.png").write_bytes(b"x")
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / "sad").rename(folder / "Sad")
    assert run("demo", folder, "--checkpoint", saved, "--output", tmp_path / "a.png") == 0
    out = capsys.readouterr().out
    assert "left out 1 images that cannot be read" in out
    assert out.count("64 images, half of them augmented") == 2


@pytest.mark.parametrize("own_data", [False, True])
def test_demo(saved, folder, tmp_path, own_data):
    """In a process of its own, for it starts DataLoader workers; without the training packages."""
    command = [*RUN, "demo", *([str(folder)] if own_data else []), "--checkpoint", str(saved)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert ("drawn by" in done.stdout) != own_data
    for kind in ("per sample", "per batch"):
        assert re.search(rf"{kind}: 512 images", done.stdout)
    with Image.open(tmp_path / "semantic-aug-demo.png") as picture:
        assert picture.height > 3 * 96


# --- Training, stopped in every way ---------------------------------------------------------------------------------


def test_train_end_to_end_killed_and_resumed(folder, tmp_path, torch_home):
    """kill -9 in the middle, run again: the same artifact as of a run that was left alone."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    more = ("--images", "2560", "--precision", "fp32")
    process = subprocess.Popen(
        train_command(folder, tmp_path / "cut", *more), stdout=subprocess.DEVNULL, env=environment
    )
    states = tmp_path / "cut" / "state"
    deadline = time.monotonic() + 300
    while not list(states.glob("*.safetensors")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "cut" / "checkpoint").exists()
    for name in ("cut", "whole"):
        subprocess.run(train_command(folder, tmp_path / name, *more), check=True, capture_output=True, env=environment)
    files = ("model.safetensors", "statistics.safetensors")
    for file in files:
        cut, whole = ((tmp_path / name / "checkpoint" / file).read_bytes() for name in ("cut", "whole"))
        assert cut == whole
    artifact = Artifact.load(tmp_path / "cut" / "checkpoint")
    assert artifact.training["images_seen"] == 2560
    assert artifact.statistics.count.tolist() == [6, 6, 6]  # held-out images count in the statistics


def test_train_interrupted_says_how_to_go_on(folder, tmp_path, torch_home):
    process = subprocess.Popen(
        train_command(folder, tmp_path / "o"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not process.stdout.readline().startswith("starting at 0 of 300000 images"):
        assert process.poll() is None, "the classifier trains first"
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on" in out
    assert "Traceback" not in err
    assert len(list((tmp_path / "o" / "state").glob("*.safetensors"))) == 1


def test_train_minutes_validation_one_class_and_bfloat16(tmp_path, torch_home):
    folder = write_folder(tmp_path / "one", classes=["only"])
    command = train_command(folder, tmp_path / "o", "--images", "128", "--precision", "bf16", "--validation", folder)
    first = subprocess.run([*command, "--minutes", "0.0001"], capture_output=True, text=True, check=True)
    assert "one class only (only)" in first.stdout
    assert "the same command goes on" in first.stdout
    second = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "going on at 64 of 128 images, 6 to train on, 6 held out" in second.stdout
    training = Artifact.load(tmp_path / "o" / "checkpoint").training
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
    artifact = Artifact.load(tmp_path / "o" / "checkpoint")
    assert artifact.network == Artifact.load(saved).network
    assert artifact.statistics.count.tolist() == [6, 3, 2]
    before, after = Artifact.load(saved).encoder.state_dict(), artifact.encoder.state_dict()
    moved = max(float((after[name] - before[name]).abs().max()) for name in before if name.endswith("weight"))
    assert 0 < moved < 0.01, "two steps from where it started"
    capsys.readouterr()
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
