"""Every verb that writes, on a disk that is full or may not be written to: one line with the user's own path."""

import os
import subprocess
import sys
import warnings
from contextlib import suppress

import pytest

from semantic_aug.cli import main as cli
from tests.cli.conftest import RUN, run
from tests.conftest import CLASSES, build_judge

EVALUATE = ("evaluate", "{saved}", "{faces}", "--compared", "4", "--device", "cpu")
TRAIN = ("train", "{faces}", "--preset", "tiny", "--device", "cpu", "--images", "16", "--batch", "16")
# The arguments, and the path that is named when the disk is full.
VERBS = {
    "train": ((*TRAIN, "--set", "lpips_weight=0", "--output", "{disk}/o"), "o/"),
    "fit": (("fit", "{saved}", "{faces}", "--output", "{disk}/o"), "o"),
    "encode": (("encode", "{saved}", "{faces}", "--output", "{disk}/o"), "o"),
    "expand": (("expand", "{saved}", "{faces}", "--times", "2", "--output", "{disk}/o"), "o/expand.json"),
    "evaluate": ((*EVALUATE, "--json", "{disk}/o"), "o"),
    "judge": ((*EVALUATE, "--train", "{faces}", "--judge", "{disk}/o"), "o"),
    "picture": ((*EVALUATE, "--judge", "{judge}", "--picture", "{disk}/o.png"), "o.png"),
    "preview": (("preview", "{saved}", "{faces}", "--output", "{disk}/o.png"), "o.png"),
    "page": (("preview", "{saved}", "{faces}", "--output", "{disk}/o.html"), "o.html"),
    "demo": (("demo", "{faces}", "--checkpoint", "{saved}", "--output", "{disk}/o.png"), "o.png"),
}


@pytest.fixture
def run_on(saved, folder, tmp_path, torch_home, capfd):
    """Runs a verb on a disk. Returns the exit code and the last line on stderr, without the path of the disk."""
    build_judge(CLASSES, 18).save(tmp_path / "judge.safetensors")

    def run_on(verb, disk):
        places = {"saved": saved, "faces": folder, "judge": tmp_path / "judge.safetensors", "disk": disk}
        code = run(*(word.format(**places) for word in VERBS[verb][0]))
        said = capfd.readouterr().err
        assert "Traceback" not in said
        return code, said.splitlines()[-1].replace(f"{disk}/", "")

    return run_on


@pytest.mark.parametrize("verb", VERBS)
def test_where_nothing_may_be_written(verb, run_on, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    name, path = VERBS[verb][0][0], VERBS[verb][1].split("/")[0]
    said = f"semantic-aug {name}: {path}: no permission to write there; change its permissions, or choose another path"
    assert run_on(verb, small_disk) == (2, said)


@pytest.mark.filterwarnings("ignore:the decoded images cannot be kept")
@pytest.mark.parametrize("verb", VERBS)
def test_a_full_disk(verb, run_on, small_disk):
    with suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))
    code, said = run_on(verb, small_disk)
    assert code == 1
    assert said.startswith(f"semantic-aug {VERBS[verb][0][0]}: {VERBS[verb][1]}")
    assert said.endswith(": No space left on device; make room, and run the same command again")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
def test_what_is_printed_to_a_full_disk(saved):
    words = [*RUN, "inspect", str(saved)]
    with open("/dev/full", "wb") as full:
        buffered = os.environ | {"PYTHONUNBUFFERED": ""}  # so that nothing is written before the end
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=buffered)
    said = "semantic-aug inspect: No space left on device; make room, and run the same command again"
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, said)


def test_a_program_says_a_warning_in_one_line(saved, monkeypatch, capsys):
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    monkeypatch.setattr(sys, "argv", ["semantic-aug", "inspect", str(saved)])
    assert cli.main() == 0
    assert warnings.formatwarning("a\nb", UserWarning, "file.py", 1) == "warning: a\\nb\n"
