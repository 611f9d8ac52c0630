import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch.testing import assert_close

import semantic_aug.trainer.loop as module
from semantic_aug import Artifact
from semantic_aug.data.dataset import hold_out, load_folder
from semantic_aug.model.networks import PRESETS
from semantic_aug.trainer.config import TrainConfig
from semantic_aug.trainer.loop import TrainingError, train
from semantic_aug.trainer.state import StateError, TrainState
from tests.conftest import build_judge, write_folder

pytestmark = pytest.mark.filterwarnings("ignore:.*pin_memory.*")
CONDITIONAL = dataclasses.replace(PRESETS["tiny"], num_classes=3)
OFF = {"class_weight": 0.0, "feature_weight": 0.0, "agreement_weight": 0.0, "draw_start": 1.0}
CONFIG = TrainConfig(
    network=CONDITIONAL,
    images=96,
    batch=8,
    lpips_weight=0,
    adversarial_start=0.3,
    log_images=16,
    snapshot_images=32,
    data={"angry": 6, "happy": 6, "sad": 6},
)


@pytest.fixture
def data(folder, monkeypatch):
    """Images on which a classifier, which ``run`` provides untrained, passes for one that has learnt something."""
    monkeypatch.setattr("semantic_aug.trainer.classifier.has_learnt", lambda *_: True)
    return load_folder(folder, 1, 32)


def run(config, data, output, **options):
    training, held_out = hold_out(data, 0.2, config.seed)
    if not (output / module.CLASSIFIER).exists():
        build_judge(data.classes, len(training)).save(output / module.CLASSIFIER)
    return train(config, training, held_out, output, every_image=data, device="cpu", **options)


def weights(output):
    return (output / "checkpoint" / "model.safetensors").read_bytes()


def test_a_run_leaves_what_it_promises(data, tmp_path, torch_home, capsys):
    config = dataclasses.replace(CONFIG, lpips_weight=1.0)
    artifact = run(config, data, tmp_path)
    assert sorted(os.listdir(tmp_path / "checkpoint")) == ["config.json", "model.safetensors", "statistics.safetensors"]
    assert sorted(os.listdir(tmp_path / "previews")) == [f"{n:012d}.png" for n in (32, 64, 96)]
    assert len(os.listdir(tmp_path / "state")) == 2
    others = {name for root, _, names in os.walk(tmp_path) for name in names if "checkpoint" not in root}
    assert not others & {"config.json", "model.safetensors", "statistics.safetensors"}
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["images_seen"] for line in lines if "l1" in line] == [16, 32, 48, 64, 80, 96]
    assert {"l1", "lpips", "kl", "d_loss", "g_loss", "kl_weight", "images_per_s"} <= lines[-2].keys()
    assert {"class_loss", "features", "divergence", "draw_loss", "diversity"} <= lines[-2].keys()
    assert not {"draw_loss", "diversity", "d_loss"} & lines[0].keys(), "draws and D join later"
    assert lines[-1].keys() == {"images_seen", "held_out_l1_mean", "held_out_lpips_mean"}
    loaded = Artifact.from_pretrained(tmp_path / "checkpoint")
    assert loaded.conditional
    assert loaded.recommended.shrinkage == "pooled"
    assert loaded.statistics.count.tolist() == [6, 6, 6]
    assert loaded.reconstruction["images"] == 4
    assert loaded.training["images_seen"] == artifact.training["images_seen"] in (64, 96)
    assert str(tmp_path / "checkpoint") in capsys.readouterr().out


def test_running_again_after_the_end_changes_nothing(data, tmp_path, capsys):
    run(CONFIG, data, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    run(CONFIG, data, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert "is finished" in capsys.readouterr().out


def test_what_a_killed_run_left_is_deleted_by_the_next(data, tmp_path):
    """Killed after the checkpoint was written, after a state was, and while an old checkpoint was replaced."""
    run(CONFIG, data, tmp_path)
    before = sorted(tmp_path.rglob("*"))
    shutil.copytree(tmp_path / "checkpoint", tmp_path / "best")
    shutil.copy(tmp_path / "state" / "000000000064.safetensors", tmp_path / "state" / "000000000032.safetensors")
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    for name in ("state/.000000000096.safetensors", ".checkpoint"):
        (tmp_path / f"{name}.{socket.gethostname()}.{process.pid}-0.part" / "new").mkdir(parents=True)
    run(CONFIG, data, tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({}, (16, 32)),  # the step after 16 images is the first with draws, the one after that the first with D
        ({"network": PRESETS["tiny"]} | OFF, (32,)),
        ({"accumulate": 2, "sampling": "balanced"}, (32,)),
    ],
)
def test_resumed_equals_uninterrupted_bit_for_bit(options, kept, data, tmp_path, monkeypatch):
    config = {"images": 48, "snapshot_images": 16, "draw_start": 0.3, "adversarial_start": 0.5} | options
    config = dataclasses.replace(CONFIG, **config)
    run(config, data, tmp_path / "whole")
    for images in kept:
        run_cut(config, data, tmp_path / f"cut-{images}", images, monkeypatch)
        assert weights(tmp_path / f"cut-{images}") == weights(tmp_path / "whole")
        states = [tmp_path / name / "state" / "000000000048.safetensors" for name in ("whole", f"cut-{images}")]
        whole, cut = map(load_file, states)
        assert all(torch.equal(whole[name], cut[name]) for name in whole.keys() - {"digest"}), "all but the seconds"


def run_cut(config, data, output, kept, monkeypatch):
    """Die in the step after the state of so many images, and run again."""
    calls, step = 0, kept // 8 + 1
    original = TrainState.update_ema

    def die(self, decay):
        nonlocal calls
        calls += 1
        if calls == 1 + step:  # the first is that of the start
            raise KeyboardInterrupt
        original(self, decay)

    with monkeypatch.context() as patch:
        patch.setattr(TrainState, "update_ema", die)
        with pytest.raises(KeyboardInterrupt):
            run(config, data, output)
    assert max(os.listdir(output / "state")) == f"{kept:012d}.safetensors"
    run(config, data, output)


def test_the_best_snapshot_is_shipped(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "SNAPSHOT_IMAGES", 4)
    losses = iter([0.0, 0.1, 0.2])  # at the first, all losses have joined, but the learning rate does not fall yet
    monkeypatch.setattr(
        module, "reconstruction", lambda artifact, *_: {"images": 4, "l1_mean": next(losses, 0.5), "l1_std": 0.0}
    )
    run(dataclasses.replace(CONFIG, adversarial_start=0.1), data, tmp_path)
    shipped = Artifact.from_pretrained(tmp_path / "checkpoint")
    assert shipped.training["images_seen"] == 64
    assert shipped.training["images"] == 18
    assert shipped.training["held_out_loss"] == 0.1
    assert shipped.statistics.count.tolist() == [6, 6, 6], "of all images, as always"
    state = load_file(tmp_path / "state" / f"{64:012d}.safetensors")
    weight = shipped.generator.state_dict()["head.weight"]
    assert_close(weight, state["ema_generator.head.weight"], atol=1e-3, rtol=1e-3, msg="half precision")
    assert "the snapshot after 64 images becomes the checkpoint" in capsys.readouterr().out
    assert not (tmp_path / "best").exists()


def test_seeds_matter_and_repeat(data, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(dataclasses.replace(CONFIG, images=16, seed=seed), data, tmp_path / name)
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert weights(tmp_path / "a") != weights(tmp_path / "c")


def test_all_networks_move_and_the_error_falls(data, tmp_path):
    config = dataclasses.replace(CONFIG, images=640, batch=16, log_images=64, snapshot_images=640, learning_rate=1e-3)
    start = TrainState(config, torch.device("cpu"))
    run(config, data, tmp_path)
    end = load_file(tmp_path / "state" / f"{640:012d}.safetensors")
    for name in ("encoder", "generator", "discriminator", "head"):
        moved = [not torch.equal(end[f"{name}.{key}"], value) for key, value in getattr(start, name).named_parameters()]
        assert all(moved), name
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    l1 = [line["l1"] for line in lines if "l1" in line]
    assert l1[-1] < 0.8 * l1[0]


def test_minutes_end_a_sitting_with_the_state_saved(data, tmp_path, capsys):
    assert run(CONFIG, data, tmp_path, minutes=1e-9) is None
    assert "the same command goes on" in capsys.readouterr().out
    assert os.listdir(tmp_path / "state") == ["000000000008.safetensors"]
    assert not (tmp_path / "checkpoint").exists()
    assert run(CONFIG, data, tmp_path) is not None


def test_ctrl_c_saves_between_two_steps(data, tmp_path):
    config = dataclasses.replace(CONFIG, images=10**6, log_images=10**6, snapshot_images=10**6)
    before = signal.getsignal(signal.SIGINT)

    def interrupt():
        while not (tmp_path / "log.jsonl").exists():
            time.sleep(0.05)
        time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run(config, data, tmp_path)
    thread.join()
    assert len(os.listdir(tmp_path / "state")) == 1
    assert signal.getsignal(signal.SIGINT) is before


def test_another_horizon_is_refused(data, tmp_path):
    run(CONFIG, data, tmp_path, minutes=1e-9)
    with pytest.raises(StateError, match="images: 96 there, 104 here"):
        run(dataclasses.replace(CONFIG, images=104), data, tmp_path)


@pytest.mark.parametrize(
    ("function", "term"),
    [
        ("kl", "kl"),
        ("balanced_softmax", "class_loss"),
        ("feature_distance", "features"),
        ("class_divergence", "divergence"),
        ("draw_cross_entropy", "draw_loss"),
        ("diversity", "diversity"),
    ],
)
def test_a_term_that_is_not_finite_stops_the_run_before_the_step(function, term, data, tmp_path, monkeypatch):
    original, broken = getattr(module.losses, function), True

    def break_after_16_images(*arguments):
        if broken and list((tmp_path / "state").glob("*.safetensors")):
            return original(*arguments) * float("nan")
        return original(*arguments)

    config = dataclasses.replace(CONFIG, images=24, snapshot_images=16, adversarial_start=0.0, draw_start=0.0)
    monkeypatch.setattr(module.losses, function, break_after_16_images)
    with pytest.raises(TrainingError, match=rf"{term} is nan in the step after 16 images; the last good state is kept"):
        run(config, data, tmp_path)
    assert os.listdir(tmp_path / "state") == ["000000000016.safetensors"]
    broken = False
    run(config, data, tmp_path)  # without the fault it goes on from there
    assert (tmp_path / "checkpoint").exists()


def test_a_run_that_goes_wrong_says_so_and_what_to_do(data, tmp_path, capsys):
    """A KL weight that no latent survives; and, as a control, the same run with a sensible one."""
    for weight, output in ((100.0, "bad"), (1e-4, "good")):
        settings = {"kl_weight": weight, "learning_rate": 2e-3, "adversarial_weight": 0.0} | OFF
        config = dataclasses.replace(CONFIG, images=600, log_images=100, snapshot_images=600, **settings)
        run(config, data, tmp_path / output)
        out = capsys.readouterr().out
        assert out.count("warning: posterior collapse") == (weight > 1), out
    assert "lower kl_weight" not in out


def test_one_class_and_no_held_out_images(tmp_path, capsys):
    data = load_folder(write_folder(tmp_path / "one", classes=["only"]), 1, 32)
    config = dataclasses.replace(
        CONFIG, network=PRESETS["tiny"], images=16, data={"only": 6}, adversarial_weight=0, draw_start=0.0
    )
    artifact = train(config, data, data.subset([]), tmp_path / "run", device="cpu")
    assert artifact.classes == ["only"]
    assert artifact.reconstruction == {}
    assert not artifact.conditional
    assert "one class only (only): its covariance is also the pooled one, and no loss" in capsys.readouterr().out
    assert {"diversity"} == {"diversity", "class_loss", "features"} & figures(tmp_path / "run").keys()


def figures(output):
    """The last line of losses."""
    lines = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    return next(line for line in reversed(lines) if "l1" in line)


def test_a_classifier_that_has_learnt_nothing_is_not_asked(data, tmp_path, monkeypatch):
    monkeypatch.setattr("semantic_aug.trainer.classifier.has_learnt", lambda *_: False)
    run(dataclasses.replace(CONFIG, images=32), data, tmp_path)
    assert {"class_loss", "diversity"} == figures(tmp_path).keys() & {
        "class_loss",
        "diversity",
        "features",
        "divergence",
        "draw_loss",
    }


def test_a_classifier_trained_on_the_way(data, tmp_path, capsys):
    training, held_out = hold_out(data, 0.2, 0)
    train(dataclasses.replace(CONFIG, images=16), training, held_out, tmp_path, device="cpu")
    assert "training the classifier of the class-aware losses, 3 epochs of 14 images" in capsys.readouterr().out
    assert "features" in figures(tmp_path)


def test_draws_without_noise_are_the_reconstruction_and_the_image(data, tmp_path, monkeypatch):
    """What D sees then: every other image; G(mu) of every fourth as "decode"; these images themselves as "detail"."""
    shown = []

    def record(images, uniform):
        shown.append(images.detach())
        assert len(uniform) == len(images)
        return original(images, uniform)

    original = module.diffaugment
    monkeypatch.setattr(module, "diffaugment", record)
    monkeypatch.setattr("semantic_aug.trainer.running.RunningStatistics.step", lambda *_: torch.zeros(2, 2, 8))
    config = dataclasses.replace(CONFIG, images=8, adversarial_start=0.0, draw_start=0.0)
    run(config, data, tmp_path)
    learnt, scored = shown
    real, decode, detail = learnt.split([4, 2, 2])
    assert_close(detail, real[::2], rtol=0, atol=1e-6)
    assert (decode - real[::2]).abs().max() > 0.1
    assert torch.equal(scored, torch.cat([decode, detail]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"data": {"angry": 6, "sad": 6}},
            r"config\.data names the classes \['angry', 'sad'\], the data has \['angry', ",
        ),
        (
            {"network": dataclasses.replace(CONDITIONAL, num_classes=4)},
            "conditional on 4 classes, the data has 3; set net",
        ),
    ],
)
def test_settings_of_other_classes_are_refused(options, message, data, tmp_path):
    with pytest.raises(ValueError, match=message):
        run(dataclasses.replace(CONFIG, **options), data, tmp_path)


def test_the_classes_are_those_of_the_data_where_none_are_named(data, tmp_path):
    artifact = run(dataclasses.replace(CONFIG, images=8, data={}), data, tmp_path)
    assert artifact.classes == ["angry", "happy", "sad"]
    (state,) = (tmp_path / "state").glob("*.safetensors")
    with safe_open(state, "pt") as file:
        assert sum(json.loads(file.metadata()["state"])["config"]["data"].values()) == 14


def test_a_scaler_of_gradients_changes_nothing(data, tmp_path, monkeypatch):
    """fp16's scaler, here on fp32: scaled and unscaled by powers of two, the weights are the same bits."""
    from accelerate import Accelerator

    class Scaled(Accelerator):
        scaling = False

        @property
        def mixed_precision(self):
            return "fp16" if self.scaling else "no"

        def prepare(self, *objects):
            made = super().prepare(*objects)
            self.native_amp = self.scaling = True
            return made

    def scaled(*_):
        accelerator = Scaled(cpu=True)
        accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16, growth_interval=2)
        return accelerator

    config = dataclasses.replace(CONFIG, feature_weight=0, agreement_weight=0, draw_weight=0)  # no autocast to fp16
    run(config, data, tmp_path / "plain")
    monkeypatch.setattr(module, "_accelerator", scaled)
    run(config, data, tmp_path / "scaled")
    assert weights(tmp_path / "scaled") == weights(tmp_path / "plain")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_on_a_gpu_it_stops_goes_on_and_draws(data, tmp_path, torch_home, precision):
    config = dataclasses.replace(CONFIG, lpips_weight=1.0, precision=precision)
    training, held_out = hold_out(data, 0.2, config.seed)
    assert train(config, training, held_out, tmp_path, every_image=data, device="cuda", minutes=0) is None
    artifact = train(config, training, held_out, tmp_path, every_image=data, device="cuda")
    assert len(os.listdir(tmp_path / "previews")) == 4
    assert artifact.training["device"] == torch.cuda.get_device_name()
    assert Artifact.from_pretrained(tmp_path / "checkpoint").fingerprint == artifact.fingerprint
