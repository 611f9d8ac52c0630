"""Help, refusals and exit codes, of every verb."""

import shlex
import subprocess
import sys

import pytest

import semantic_aug
from semantic_aug.cli.main import VERBS
from tests.cli.conftest import RUN, run
from tests.conftest import write_folder


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_an_example(verb, capsys):
    with pytest.raises(SystemExit) as caught:
        run(verb, "--help")
    assert caught.value.code == 0
    assert f"example: semantic-aug {verb} " in " ".join(capsys.readouterr().out.split())


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as caught:
        run("--version")
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"semantic-aug {semantic_aug.__version__}\n"


def test_what_asks_for_no_work_loads_no_torch():
    """So that help, version, completion and a mistyped verb are answered at once."""
    asked = [["--help"], ["--version"], ["trian"], ["train"], *([verb, "--help"] for verb in VERBS)]
    code = f"""
import contextlib, io, sys
from semantic_aug.cli.main import main
for arguments in {asked}:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            main(arguments)
        except SystemExit:
            pass
print(*{{name.partition(".")[0] for name in sys.modules}})
"""
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "semantic_aug" in loaded
    assert not {"torch", "torchvision", "numpy", "PIL", "safetensors", "huggingface_hub", "tqdm"} & set(loaded)


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("trian", "did you mean train?"),
        ("eval", "did you mean evaluate?"),
        ("Expand", "did you mean expand?"),
        ("fly", "there are demo, train, fit, encode, expand, evaluate, preview, app, inspect, push"),
    ],
)
def test_a_mistyped_verb(word, hint, capsys):
    with pytest.raises(SystemExit) as caught:
        run(word, "faces", "--output", "o")
    assert caught.value.code == 2
    assert capsys.readouterr().err.endswith(f"semantic-aug: error: unknown verb '{word}'; {hint}\n")


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
        (["train", "{splits}", *TRAIN[2:]], "are called train and validation, like splits and not like classes"),
        (["train", "{folder}/angry/0.png", *TRAIN[2:]], "is a file; expected an image folder"),
        (["encode", "{saved}", "{folder}", "--output", "{saved}/config.json/l"], "is a file; expected a folder to wri"),
        (["inspect", "nothing"], "no checkpoint 'nothing'"),
        (["inspect", "{folder}"], "config.json: missing"),
        (["push", "{saved}", "mine"], "such as 'user/repo', got 'mine'"),
        ([*PREVIEW, "--output", "{tmp}/no/a.png"], "no such folder to write a.png to"),
        ([*PREVIEW, "--per-class", "0"], "--per-class must be at least 1"),
        ([*PREVIEW, "--output", "{tmp}/a.jpg"], "--output must end in .png or .html, got a.jpg"),
        ([*PREVIEW, "--figure", "walks"], "unknown figure 'walks'; there are pairs, augmentations"),
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
    for split in ("train", "validation"):
        write_folder(tmp_path / "splits" / split, 1)
    places = {
        "splits": tmp_path / "splits",
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


def test_a_failure_while_working_exits_1(saved, folder, tmp_path, line, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("semantic_aug.model.format.save_file", full)
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


@pytest.mark.parametrize("verb", ["fit", "evaluate"])
def test_without_the_training_packages_it_says_what_to_install(verb, saved, folder, tmp_path, line, monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    for name in [name for name in sys.modules if name.startswith("semantic_aug._distributed")]:
        monkeypatch.delitem(sys.modules, name)
    more = ("--output", tmp_path / "fitted") if verb == "fit" else ()
    assert run(verb, saved, folder, *more) == 2
    assert 'pip install "semantic-aug[train]"' in line()
