"""Two real processes (gloo) against one, started by torchrun or, where it does not matter, as forks."""

import json
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from semantic_aug import Artifact, ClassStatistics, _distributed
from semantic_aug.cli import main as cli
from semantic_aug.model.networks import PRESETS, Encoder, Generator
from semantic_aug.trainer import classifier, fit, loop
from semantic_aug.trainer.fit import merged_over_processes
from tests.conftest import CLASSES, build_judge, write_folder
from tests.forks import launch, run_script

pytestmark = pytest.mark.filterwarnings("ignore:.*pin_memory.*")
# How far E's first gradients may differ. In float32, a sum of n terms is off by about sqrt(n) 2^-24 of itself, which
# depends on their order (Higham and Mary 2019). Here n is 16 images of 32 x 32 positions, and a gradient of E passes
# every layer of E and G twice.
NETWORKS = Encoder(PRESETS["tiny"]), Generator(PRESETS["tiny"])
LAYERS = 2 * sum(isinstance(each, torch.nn.Conv2d | torch.nn.Linear) for net in NETWORKS for each in net.modules())
ROUNDING = LAYERS * (16 * 32 * 32) ** 0.5 * 2**-24
# After Adam's first step, a weight whose gradient is all rounding may go either way, so it differs by up to twice the
# learning rate of 1e-4 a step. A weight is about 1 / 12, the root of 1 / (16 channels x 9), so that is 0.24 % a step
# and up to 2 % after 8 steps, for those weights alone. This is half of it.
DRIFT = 1e-2
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("data") / "faces", 20)


def environment(**more):
    return os.environ | {"PYTHONWARNINGS": "ignore"} | more


def started(launcher, *arguments, **variables):
    """What a command prints that succeeds."""
    done = subprocess.run(
        [*launcher, *arguments], env=environment(**variables), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_here(monkeypatch, script, *arguments):
    """Run a script in this process, and undo what it replaced."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", [str(word) for word in (script, *arguments)])
        patch.setattr(torch.nn.BatchNorm2d, "forward", torch.nn.BatchNorm2d.forward)
        patch.setattr(classifier, "has_learnt", classifier.has_learnt)
        patch.setattr(_distributed, "leave", _distributed.leave)
        runpy.run_path(str(script))


SCRIPT = """
import sys
from dataclasses import replace
from pathlib import Path
import torch
from semantic_aug import _distributed
from semantic_aug.cli import main as cli
from semantic_aug.model.networks import PRESETS
from semantic_aug.trainer import classifier, loop
from semantic_aug.trainer.config import TrainConfig
from semantic_aug.data.dataset import load_folder

folder, grouped, images, *outputs = sys.argv[1:]
parts = 2 if grouped == "accumulated" else 1
classifier.has_learnt = lambda *_: True
data = load_folder(folder, 1, 32)
held_out, training = data.subset(range(0, 60, 10)), data.subset([i for i in range(60) if i % 10])
config = TrainConfig(
    network=replace(PRESETS["tiny"], num_classes=3), images=int(images), batch=16, lpips_weight=0,
    adversarial_start=0.3, log_images=16, snapshot_images=48, learning_rate=1e-4, accumulate=parts,
    data=dict(zip(data.classes, data.counts())),
)
if grouped == "grouped":  # one process whose batch norm takes the groups that two would have
    original = torch.nn.BatchNorm2d.forward

    def forward(self, x):
        if not self.training:
            return original(self, x)
        # Behind the reconstructions stand samples from the prior or, in three groups, two draws and G(mu).
        groups = torch.arange(len(x)).split({16: [16], 24: [16, 8], 28: [16, 4, 4, 4]}[len(x)])
        halves = [torch.cat([group.chunk(2)[half] for group in groups]) for half in (0, 1)]
        out, running = torch.zeros_like(x), [(self.running_mean.clone(), self.running_var.clone()) for _ in halves]
        for half, (mean, var) in zip(halves, running):
            weight, bias, momentum = self.weight, self.bias, self.momentum
            part = torch.nn.functional.batch_norm(x[half], mean, var, weight, bias, True, momentum, self.eps)
            out = out.index_put((half,), part)
        self.running_mean.copy_((running[0][0] + running[1][0]) / 2)
        self.running_var.copy_((running[0][1] + running[1][1]) / 2)
        return out

    torch.nn.BatchNorm2d.forward = forward
for output in outputs:
    drawn = 1.0 if Path(output).name.startswith("prior") else 0.2
    loop.train(replace(config, draw_start=drawn), training, held_out, output, every_image=data, device="cpu")
if grouped == "two":  # and by the command, which leaves the other process at its end
    words = ["train", folder, "--output", str(Path(outputs[0]).parent / "verb"), "--preset", "tiny", "--device", "cpu"]
    assert cli.main([*words, "--images", "32", "--batch", "16", "--set", "lpips_weight=0"]) == 0
_distributed.leave()
"""


@pytest.fixture
def train(faces, tmp_path, monkeypatch):
    """Runs the script, in this process unless it is for two; returns its output folders and what it printed."""

    def run(way, images, sampled=("draws",)):
        (tmp_path / "script.py").write_text(SCRIPT)
        outputs = [tmp_path / f"{name}-{way}" for name in sampled]
        for output in outputs:
            build_judge(CLASSES, 54).save(output / loop.CLASSIFIER)
        words = (tmp_path / "script.py", faces, way, str(images), *outputs)
        return outputs, launch(run_script, *words) if way == "two" else run_here(monkeypatch, *words)

    return run


def test_two_processes_train_as_one_with_the_same_groups(train, tmp_path):
    """Same losses, weights, statistics and figures; the same names, classes and counts; one writer."""
    sampled = ("draws", "prior")
    twos, said = train("two", 128, sampled)
    ones, _ = train("grouped", 128, sampled)
    assert said.count("starting at 0") == said.count("in 2 processes") == 3, "each of the three trainings once"
    for two, one in zip(twos, ones, strict=True):
        check_the_same_run(two, one)
    verb = tmp_path / "verb" / "checkpoint"
    assert said.count(f"wrote {verb}, L1 ") == said.count(f'checkpoint="{verb}"') == 1
    assert Artifact.from_pretrained(verb).training["world_size"] == 2


def check_the_same_run(two, one):
    lines = [[json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()] for run in (two, one)]
    assert len(lines[0]) == len(lines[1])
    for left, right in zip(*lines, strict=True):
        assert left.keys() == right.keys()
        for name in left.keys() - {"images_per_s"}:
            tolerance = DRIFT if name == "grad_norm" else 2e-3
            assert left[name] == pytest.approx(right[name], rel=tolerance, abs=2e-4), (two.name, name)
    assert lines[0][0]["grad_norm"] == pytest.approx(lines[1][0]["grad_norm"], rel=ROUNDING)
    configs = [json.loads((run / "checkpoint" / "config.json").read_text()) for run in (two, one)]
    assert configs[0]["training"]["world_size"] == 2
    assert configs[1]["training"]["world_size"] == 1
    for name in ("classes", "counts", "network", "format"):
        assert configs[0][name] == configs[1][name]
    left, right = (load_file(run / "checkpoint" / "model.safetensors") for run in (two, one))
    assert {name: value.shape for name, value in left.items()} == {name: value.shape for name, value in right.items()}
    for name, value in left.items():
        if "running" in name:
            assert_close(value.float(), right[name].float(), rtol=5e-3, atol=5e-3)
    assert Artifact.from_pretrained(two / "checkpoint").statistics.count.tolist() == [20, 20, 20]


def test_a_batch_in_two_parts_is_one_batch_with_the_same_groups(train):
    """The same up to D's spectral norms, which are iterated once more a step."""
    runs = [train(way, 96)[0][0] for way in ("accumulated", "grouped")]
    lines = [[json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()] for run in runs]
    for left, right in zip(*lines, strict=True):
        for name in left.keys() & {"l1", "kl", "held_out_l1_mean"}:
            assert left[name] == pytest.approx(right[name], rel=1e-2), name
    first = [run[0] for run in lines]
    assert first[0]["grad_norm"] == pytest.approx(first[1]["grad_norm"], rel=ROUNDING)


VERBS = """
import sys
from semantic_aug import _distributed
from semantic_aug.cli import main as cli

# One after the other in the same process, which parts from the others after the second.
saved, faces, output = sys.argv[1:]
leave, _distributed.leave = _distributed.leave, _distributed.wait
assert cli.main(["fit", saved, faces, "--output", output, "--device", "cpu"]) == 0
_distributed.leave = leave
evaluate = ["evaluate", saved, faces, "--json", f"{output}.json", "--compared", "16", "--device", "cpu"]
assert cli.main(evaluate) == 0
"""


def test_fit_and_evaluate_of_two_processes_are_those_of_one(saved, faces, tmp_path, torch_home, capsys, monkeypatch):
    (tmp_path / "verbs.py").write_text(VERBS)
    words = (tmp_path / "verbs.py", saved, faces)
    said = {"two": started(TORCHRUN, *words, tmp_path / "two", TORCH_HOME=str(torch_home))}
    run_here(monkeypatch, *words, tmp_path / "one")
    said["one"] = capsys.readouterr().out
    for processes, name in ((1, "one"), (2, "two")):
        assert said[name].count("faces: 60 images of 3 classes: angry 20, happy 20, sad 20\n") == 1
        assert said[name].count(f"\nwrote {tmp_path / name}: 60 images, 3 classes\n") == 1
        assert Artifact.from_pretrained(tmp_path / name).training["fitted_in_processes"] == processes
    one, two = (load_file(tmp_path / name / "statistics.safetensors") for name in ("one", "two"))
    assert torch.equal(two["count"], one["count"])
    for name in ("mean", "covariance"):
        assert_close(two[name], one[name], rtol=1e-6, atol=1e-6)
    left, right = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one", "two"))
    assert left == right


def test_merging_over_processes_equals_merge(monkeypatch):
    """Three processes played by threads, one of them without images; far from 0, where digits would be lost."""
    parts, whole = [], ClassStatistics(2, 4)
    for n in (5, 0, 9):
        parts.append(ClassStatistics(2, 4))
        parts[-1].update(1e4 + torch.randn(n, 4, dtype=torch.float64), torch.arange(n) % 2)
        whole.merge(parts[-1])
    given: list[torch.Tensor] = []
    barrier = threading.Barrier(3)

    def total(values):
        given.append(values)
        barrier.wait()
        result = torch.stack(given).sum(0)
        if barrier.wait() == 0:
            given.clear()
        barrier.wait()
        return result

    monkeypatch.setattr(fit, "sum_over_processes", total)
    monkeypatch.setattr(fit, "rank_and_world", lambda: (0, 3))
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda part: merged_over_processes(part, torch.device("cpu")), parts))
    for merged in found:
        assert torch.equal(merged.count, whole.count)
        assert_close(merged.mean, whole.mean, rtol=1e-12, atol=0)
        assert_close(merged.scatter, whole.scatter, rtol=1e-6, atol=1e-6)


def test_processes_that_did_not_join_are_missed(monkeypatch):
    assert _distributed.join("cpu").num_processes == 1
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RuntimeError, match="2 processes were launched but 1 joined; use torchrun"):
        _distributed.join("cpu")


def test_processes_that_cannot_share_the_batch_are_refused(faces, tmp_path, monkeypatch, capsys):
    """Each of them by itself, before it joins the others."""
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert cli.main(["train", str(faces), "--output", str(tmp_path / "o"), "--preset", "tiny"]) == 2
    assert "batch must be a multiple of 12 (4 x 3 processes x accumulate 1), got 64" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_a_process_that_dies_ends_the_others_in_bounded_time(faces, tmp_path, torch_home):
    command = [*TORCHRUN, "-m", "semantic_aug", "train", faces, "--output", tmp_path / "o", "--preset", "tiny"]
    command += ["--device", "cpu", "--images", "10000000", "--set", "lpips_weight=0", "--set", "classifier_epochs=1"]
    launcher = subprocess.Popen(command, env=environment(TORCH_HOME=os.environ["TORCH_HOME"]), stderr=subprocess.PIPE)
    try:
        while not (tmp_path / "o" / "log.jsonl").exists():
            assert launcher.poll() is None
            time.sleep(0.2)
        workers = subprocess.run(
            ["pgrep", "-P", str(launcher.pid)], capture_output=True, text=True, check=True
        ).stdout.split()
        assert len(workers) == 2
        os.kill(int(workers[1]), signal.SIGKILL)
        assert launcher.wait(timeout=600) != 0
        for worker in workers:
            assert not os.path.exists(f"/proc/{worker}")
    finally:
        launcher.kill()
        launcher.stderr.close()


DIFFERENT = """
import os, sys
from dataclasses import replace
from pathlib import Path
from semantic_aug import _distributed
from semantic_aug.data.dataset import load_folder
from semantic_aug.model.networks import PRESETS
from semantic_aug.trainer import loop
from semantic_aug.trainer.config import TrainConfig

faces, pixels, classes, output = sys.argv[1:]
rank = os.environ["RANK"]
for what, others in (("seed", faces), ("pixels", pixels), ("network", classes)):
    data = load_folder(others if rank == "1" else faces, 1, 32)
    network = replace(PRESETS["tiny"], num_classes=len(data.classes))
    seed = int(rank == "1" and what == "seed")
    config = TrainConfig(network=network, images=64, batch=16, lpips_weight=0, seed=seed)
    try:
        loop.train(config, data, data, f"{output}/{what}", device="cpu")
    except RuntimeError as error:
        print(f"{what}, rank {rank}: {error}", flush=True)
_distributed.leave()
"""


def test_processes_that_do_not_do_the_same_are_refused(faces, tmp_path, torch_home):
    """With another seed, other images of the same classes, or other classes."""
    (tmp_path / "script.py").write_text(DIFFERENT)
    pixels = write_folder(tmp_path / "pixels", 20, seed=1)
    classes = write_folder(tmp_path / "classes", 20, seed=1, classes=["a", "b"])
    said = launch(run_script, tmp_path / "script.py", faces, pixels, classes, tmp_path / "o")
    for what in ("seed", "pixels", "network"):
        for rank in (0, 1):
            assert f"{what}, rank {rank}: process 1 has other {what} than process 0" in said
    assert not list(tmp_path.glob("o/*/log.jsonl"))


@pytest.mark.slow
def test_two_processes_resume_bit_for_bit(faces, tmp_path, torch_home):
    def trained(name, *more):
        command = (
            "train",
            faces,
            "--output",
            tmp_path / name,
            "--preset",
            "tiny",
            "--images",
            "3200",
            "--device",
            "cpu",
        )
        return started([*TORCHRUN, "-m", "semantic_aug"], *command, *more, TORCH_HOME=str(torch_home))

    trained("whole")
    assert "the same command goes on" in trained("cut", "--minutes", "0.02")
    assert "going on at" in trained("cut")
    for file in ("model.safetensors", "statistics.safetensors"):
        cut, whole = ((tmp_path / name / "checkpoint" / file).read_bytes() for name in ("cut", "whole"))
        assert cut == whole, file
