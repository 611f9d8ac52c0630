"""A training killed twenty times, at random moments and in the middle of saves, ends as if it had been left alone."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from semantic_aug import Artifact

KILLS, SNAPSHOT, IMAGES = 20, 64, 64 * 120  # far more than twenty sittings get done
DRAWS = 64 * 6  # images before draws join
SCRIPT = f"""
import sys
from semantic_aug.model.networks import PRESETS
from dataclasses import replace
from semantic_aug.model.networks import PRESETS
from semantic_aug.trainer import classifier
from semantic_aug.trainer.config import TrainConfig
from semantic_aug.data.dataset import hold_out, load_folder
from semantic_aug.trainer.loop import train

folder, output, images = sys.argv[1:]
classifier.has_learnt = lambda *_: True
data = load_folder(folder, 1, 32)
config = TrainConfig(
    network=replace(PRESETS["tiny"], num_classes=3), images=int(images), batch=16, snapshot_images={SNAPSHOT},
    log_images={IMAGES}, draw_start={DRAWS / IMAGES}, adversarial_start={2 * DRAWS / IMAGES},
)
training, held_out = hold_out(data, 0.2, 0)
train(config, training, held_out, output, every_image=data, device="cpu")
"""


def command(script, folder, output, images):
    return [sys.executable, script, folder, output, str(images)]


def read_until(process, *beginnings):
    """The first line of its output that begins so."""
    for line in process.stdout:
        if line.startswith(beginnings):
            return line
    raise AssertionError(f"it ended without a line that begins with one of {beginnings}")


@pytest.fixture
def script(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    return tmp_path / "script.py"


@pytest.mark.slow
def test_a_kill_while_the_classifier_trains_changes_nothing(script, folder, tmp_path, torch_home):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    whole, cut = (command(script, folder, tmp_path / name, 160) for name in ("whole", "cut"))
    subprocess.run(whole, check=True, capture_output=True, env=environment)
    process = subprocess.Popen(cut, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    read_until(process, "classifier: epoch ")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "cut" / "classifier.safetensors").exists()
    subprocess.run(cut, check=True, capture_output=True, env=environment)
    for file in ("classifier.safetensors", "checkpoint/model.safetensors", "checkpoint/statistics.safetensors"):
        assert (tmp_path / "cut" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes(), file


@pytest.mark.slow
def test_twenty_kills_change_nothing(script, folder, tmp_path, torch_home):
    """Every other kill comes while a state is being written, after at least one more was written."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    state = tmp_path / "cut" / "state"

    def names(pattern):
        return {path.name for path in state.glob(pattern)}

    whole, cut = (command(script, folder, tmp_path / name, IMAGES) for name in ("whole", "cut"))
    subprocess.run(whole, check=True, capture_output=True, env=environment)
    moments, began_at, in_a_save = random.Random(0), [], 0
    for number in range(KILLS):
        there = names("*.safetensors")
        process = subprocess.Popen(cut, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        words = read_until(process, "starting at", "going on at").split()
        began_at.append(int(words[words.index("at") + 1]))
        if number % 2:
            while not (names("*.safetensors") - there and names(".*.part")) and process.poll() is None:
                time.sleep(0.0002)
        else:
            time.sleep(moments.uniform(0, 1))
        in_a_save += bool(names(".*.part"))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "it ended before it was killed"
    print(f"{KILLS} kills, {in_a_save} of them in a save; the runs went on at {began_at} images")
    assert in_a_save >= 5
    assert began_at[0] < DRAWS < began_at[-1], "before draws join, and after"
    assert began_at == sorted(began_at), "no kill takes back what a state had kept"
    subprocess.run(cut, check=True, capture_output=True, env=environment)
    for file in ("model.safetensors", "statistics.safetensors"):
        found, expected = ((tmp_path / name / "checkpoint" / file).read_bytes() for name in ("cut", "whole"))
        assert found == expected, file
    assert names(".*.part") == set(), "what a kill left is cleared away"
    assert Artifact.from_pretrained(tmp_path / "cut" / "checkpoint").training["images_seen"] <= IMAGES
