"""A training killed twenty times, at random moments and in the middle of saves, ends as if it had been left alone."""

import random
import signal
import subprocess
import sys
import time

import pytest

from semantic_aug import Artifact

KILLS, SNAPSHOT, IMAGES = 20, 64, 64 * 120  # far more than twenty sittings get done
SCRIPT = f"""
import sys
from semantic_aug.networks import PRESETS
from semantic_aug.trainer.config import TrainConfig
from semantic_aug.trainer.data import hold_out, load_folder
from semantic_aug.trainer.loop import train

folder, output = sys.argv[1:]
data = load_folder(folder, 1, 32)
config = TrainConfig(
    network=PRESETS["tiny"], images={IMAGES}, batch=16, snapshot_images={SNAPSHOT}, log_images={IMAGES}
)
training, held_out = hold_out(data, 0.2, 0)
train(config, training, held_out, output, every_image=data, device="cpu")
"""


@pytest.mark.slow
def test_twenty_kills_change_nothing(folder, tmp_path, torch_home):
    """Every other kill comes while a state is being written, after at least one more was written."""
    (tmp_path / "script.py").write_text(SCRIPT)
    state = tmp_path / "cut" / "state"

    def command(output):
        return [sys.executable, tmp_path / "script.py", folder, tmp_path / output]

    def names(pattern):
        return {path.name for path in state.glob(pattern)}

    subprocess.run(command("whole"), check=True, capture_output=True)
    moments, began_at, in_a_save = random.Random(0), [], 0
    for number in range(KILLS):
        there = names("*.safetensors")
        process = subprocess.Popen(command("cut"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        words = process.stdout.readline().split()
        began_at.append(int(words[words.index("at") + 1]))
        if number % 2:
            while not (names("*.safetensors") - there and names("*.part")) and process.poll() is None:
                time.sleep(0.0002)
        else:
            time.sleep(moments.uniform(0, 1))
        in_a_save += bool(names("*.part"))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "it ended before it was killed"
    print(f"{KILLS} kills, {in_a_save} of them in a save; the runs went on at {began_at} images")
    assert in_a_save >= 5
    assert began_at == sorted(began_at), "no kill takes back what a state had kept"
    subprocess.run(command("cut"), check=True, capture_output=True)
    for file in ("model.safetensors", "statistics.safetensors"):
        cut, whole = ((tmp_path / name / "checkpoint" / file).read_bytes() for name in ("cut", "whole"))
        assert cut == whole, file
    assert names("*.part") == set(), "what a kill left is cleared away"
    assert Artifact.load(tmp_path / "cut" / "checkpoint").training["images_seen"] == IMAGES
