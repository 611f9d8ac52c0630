import dataclasses
import json
import os

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from semantic_aug._io import save_with_digest
from semantic_aug.model.networks import PRESETS
from semantic_aug.trainer.config import TrainConfig
from semantic_aug.trainer.state import StateError, TrainState

CONFIG = TrainConfig(network=dataclasses.replace(PRESETS["tiny"], num_classes=2), images=100, data={"a": 3, "c": 2})
CPU = torch.device("cpu")


def stepped(config=CONFIG, steps=1):
    """A state whose networks and optimisers have moved."""
    state = TrainState(config, CPU)
    for _ in range(steps):
        x = torch.rand(4, 1, 32, 32) * 2 - 1
        mu, logvar = state.encoder(x)
        labels = torch.tensor([0, 1, 1, -1])
        loss = (state.generator(mu, labels) - x).abs().mean() + logvar.square().mean()
        loss = loss + state.discriminator(x, labels).mean() + state.head(mu).square().mean()
        loss.backward()
        state.running.update(mu.detach(), labels.clamp(min=0), 0.9)
        state.autoencoder_optimizer.step()
        state.discriminator_optimizer.step()
        state.update_ema(0.5)
        state.images_seen += 4
    return state


def same(a, b):
    left, right = a._tensors(), b._tensors()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_round_trip_is_exact(tmp_path):
    state = stepped()
    state.seconds = 1.5
    state.save(tmp_path, CONFIG)
    again = TrainState(CONFIG, CPU)
    assert not same(state, again)
    assert again.resume(tmp_path, CONFIG)
    assert same(state, again)
    assert (again.images_seen, again.seconds) == (4, 1.5)
    layouts = [{name: value.stride() for name, value in each._tensors().items()} for each in (state, again)]
    assert layouts[0] == layouts[1], "a step on other layouts is slower on a GPU"


def test_the_scaler_of_fp16_is_kept(tmp_path):
    state, again = (TrainState(CONFIG, CPU, torch.amp.GradScaler("cpu")) for _ in range(2))
    state.scaler.load_state_dict(state.scaler.state_dict() | {"scale": 1024.0, "_growth_tracker": 7})
    state.save(tmp_path, CONFIG)
    assert again.resume(tmp_path, CONFIG)
    assert again.scaler.state_dict() == state.scaler.state_dict()
    assert again.scaler.get_scale() == 1024.0


def test_without_a_state_there_is_nothing_to_resume(tmp_path):
    assert not TrainState(CONFIG, CPU).resume(tmp_path / "nowhere", CONFIG)


def test_construction_repeats_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    a = TrainState(CONFIG, CPU)
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(3)
    assert same(a, TrainState(CONFIG, CPU))
    assert not same(a, TrainState(dataclasses.replace(CONFIG, seed=1), CPU))


def test_the_newest_two_are_kept_and_the_older_one_serves(tmp_path):
    state = stepped()
    for images_seen in (4, 8, 12):
        state.images_seen = images_seen
        state.save(tmp_path, CONFIG)
    newest = tmp_path / "000000000012.safetensors"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000000008.safetensors", newest.name]
    newest.write_bytes(newest.read_bytes()[:-100])
    again = TrainState(CONFIG, CPU)
    with pytest.warns(UserWarning, match=r"12\.safetensors: .*cut off.*; going on from the older state 000000000008"):
        assert again.resume(tmp_path, CONFIG)
    assert again.images_seen == 8


def overwrite(path, change):
    """Store the state at ``path`` anew with changed tensors or metadata, and a right digest."""
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name).clone() for name in file.keys() if name != "digest"}
        meta = json.loads(file.metadata()["state"])
    change(tensors, meta)
    save_with_digest(tensors, path, {"state": json.dumps(meta)})


DAMAGE = {
    "a flipped bit": lambda path: flip(path, -5),
    "a flipped bit of the configuration": lambda path: flip(path, path.read_bytes().index(b"learning_rate")),
    "a flipped bit of the digest's name": lambda path: flip(path, path.read_bytes().index(b'"digest"') + 3),
    "a flipped bit of the digest": lambda path: overwrite_digest(path),
    "NaN": lambda path: overwrite(path, lambda tensors, _: tensors["encoder.stem.bias"].fill_(torch.nan)),
    "a missing tensor": lambda path: overwrite(path, lambda tensors, _: tensors.pop("encoder.stem.bias")),
    "a missing moment": lambda path: overwrite(path, lambda tensors, _: tensors.pop("autoencoder_optimizer.0.step")),
    "another shape": lambda path: overwrite(path, lambda tensors, _: tensors.update({"running.count": torch.ones(3)})),
    "no number of images": lambda path: overwrite(path, lambda _, meta: meta.pop("images_seen")),
    "deep JSON": lambda path: save_with_digest({}, path, {"state": "[" * 100_000}),
    "a named pipe": lambda path: (path.unlink(), os.mkfifo(path)),
}


def overwrite_digest(path):
    with safe_open(path, "pt") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()
    tensors["digest"][0] ^= 1
    save_file(tensors, path, metadata)


def flip(path, offset):
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_state_is_named_and_the_older_one_taken(tmp_path, damage):
    state = stepped()
    state.save(tmp_path, CONFIG)
    state.images_seen = 8
    DAMAGE[damage](state.save(tmp_path, CONFIG))
    again = TrainState(CONFIG, CPU)
    with pytest.warns(UserWarning, match=r"000000000008\.safetensors.*going on from the older state 000000000004"):
        assert again.resume(tmp_path, CONFIG)
    assert again.images_seen == 4
    assert same(state, again)


def test_numbers_that_are_not_finite_are_not_saved(tmp_path):
    state = stepped()
    state.save(tmp_path, CONFIG)
    state.images_seen = 8
    state.encoder.stem.bias.data[0] = torch.inf
    with pytest.raises(StateError, match=r"000000000008\.safetensors: tensor 'encoder\.stem\.bias' holds NaN or inf"):
        state.save(tmp_path, CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == ["000000000004.safetensors"]


def test_a_change_of_the_number_of_processes_is_recorded(tmp_path):
    state, again = stepped(), TrainState(CONFIG, CPU)
    state.note_processes(1)
    state.save(tmp_path, CONFIG)
    again.resume(tmp_path, CONFIG)
    again.note_processes(1)
    again.images_seen = 8
    again.note_processes(2)
    assert again.world_sizes == [[4, 1], [8, 2]]


def test_other_images_are_refused(tmp_path):
    state, again = stepped(), TrainState(CONFIG, CPU)
    state.images_digest, again.images_digest = "a", "b"
    state.save(tmp_path, CONFIG)
    with pytest.raises(StateError, match="the training images have changed since"):
        again.resume(tmp_path, CONFIG)


def test_a_left_over_of_a_killed_save_is_ignored(tmp_path):
    stepped().save(tmp_path, CONFIG)
    (tmp_path / "000000000099.part").write_bytes(b"half")
    assert TrainState(CONFIG, CPU).resume(tmp_path, CONFIG)


def test_a_failed_save_leaves_the_older_state(tmp_path, monkeypatch):
    state = stepped()
    state.save(tmp_path, CONFIG)

    def full(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("semantic_aug._io.save_file", full)
    state.images_seen = 8
    with pytest.raises(OSError, match="No space"):
        state.save(tmp_path, CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == ["000000000004.safetensors"]


def test_another_configuration_is_refused_with_the_fields(tmp_path):
    stepped().save(tmp_path, CONFIG)
    other = dataclasses.replace(CONFIG, images=200, data={"a": 3, "b": 1}, draw_weight=0.2)
    expected = (
        r"data\.b: None there, 1 here; .*draw_weight: 0\.1 there, 0\.2 here; images: 100 there, 200 here.*another"
    )
    with pytest.raises(StateError, match=expected):
        TrainState(other, CPU).resume(tmp_path, other)


def test_states_that_cannot_be_read_are_not_started_over(tmp_path):
    stepped().save(tmp_path, CONFIG).write_bytes(b"broken")
    with pytest.raises(StateError, match=r"no state can be read.*delete .* to start over"):
        TrainState(CONFIG, CPU).resume(tmp_path, CONFIG)


def test_a_run_without_the_class_and_draws_has_the_state_of_old():
    off = {"class_weight": 0.0, "draw_start": 1.0}
    state = TrainState(dataclasses.replace(CONFIG, network=PRESETS["tiny"], **off), CPU)
    assert (state.head, state.running) == (None, None)
    assert {name.split(".")[0] for name in state._tensors()} == {
        "encoder",
        "generator",
        "discriminator",
        "ema_encoder",
        "ema_generator",
    }


def test_ema_averages_parameters_and_copies_statistics():
    state = TrainState(CONFIG, CPU)
    before = state.ema_encoder.stem.weight.clone()
    with torch.no_grad():
        state.encoder.stem.weight += 1
        state.encoder.norm.running_mean += 3
    state.update_ema(0.75)
    torch.testing.assert_close(state.ema_encoder.stem.weight, before + 0.25)
    assert torch.equal(state.ema_encoder.norm.running_mean, state.encoder.norm.running_mean)
