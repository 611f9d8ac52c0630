import argparse
import json

import pytest
import torch

from benchmarks import directions
from benchmarks.directions import asymmetry, brightness, log_odds, moved, moves
from semantic_aug.evaluation.classifier import Judge, resnet18
from tests.conftest import CLASSES, build_artifact, write_folder


def build_judge(classes=CLASSES):
    torch.manual_seed(5)
    return Judge(
        network=resnet18(1, len(classes)), classes=list(classes), channels=1, size=32, images=9, epochs=1, seed=0
    )


def test_brightness_and_asymmetry_written_out():
    x = torch.zeros(2, 1, 4, 5)
    x[0, :, :, :2] = 1.0  # the middle column belongs to neither half
    x[1] = -0.5
    torch.testing.assert_close(brightness(x), torch.tensor([[0.4], [-0.5]]))
    torch.testing.assert_close(asymmetry(x), torch.tensor([[1.0], [0.0]]))
    torch.testing.assert_close(asymmetry(x.flip(-1)), torch.tensor([[-1.0], [0.0]]))


def test_log_odds_are_the_logit_of_the_probability():
    judge, x, labels = build_judge(), torch.rand(4, 1, 32, 32), torch.tensor([0, 2, 1, 1])
    odds, predicted = log_odds(judge, x, labels)
    p = judge.probabilities(x).double()[torch.arange(4), labels]
    torch.testing.assert_close(odds[:, 0], torch.log(p / (1 - p)), rtol=1e-4, atol=1e-5)
    assert torch.equal(predicted, judge.logits(x).argmax(1))


def test_moves_are_standard_deviations_along_eigenvectors():
    artifact = build_artifact()
    made = moves(artifact, 1, 3, 2, seed=0)
    assert list(made) == ["direction 1", "direction 2", "random draw at 0.35", "to another class"]
    values = torch.linalg.eigvalsh(artifact.statistics.covariance(1, artifact.recommended.shrinkage)).flip(0)
    for number in (0, 1):
        step = made[f"direction {number + 1}"]
        assert step.shape == (3, artifact.network.latent_dim)
        torch.testing.assert_close(step[0].double().square().sum(), values[number], rtol=1e-4, atol=1e-8)
    length = made["direction 1"][0].norm()
    way = (artifact.statistics.mean[2] - artifact.statistics.mean[1]).float()
    torch.testing.assert_close(made["to another class"][0] / length, way / way.norm())
    assert not torch.equal(made["random draw at 0.35"][0], made["random draw at 0.35"][1])


@torch.no_grad()
def test_moved_images_are_made_as_the_modes_make_them():
    artifact, x = build_artifact(), torch.rand(3, 1, 32, 32) - 0.5
    step = torch.randn(3, artifact.network.latent_dim)
    mu = artifact.encode(x)
    forward, back = moved(artifact, x, 0, step, "decode")
    torch.testing.assert_close(forward, artifact.decode(mu + step))
    torch.testing.assert_close(back, artifact.decode(mu - step))
    forward, _ = moved(artifact, x, 0, step, "detail")
    expected = (x + artifact.decode(mu + step) - artifact.decode(mu)).clamp(-1, 1)
    torch.testing.assert_close(forward, expected, atol=1e-5, rtol=0)
    for still in moved(artifact, x, 0, 0 * step, "detail"):
        torch.testing.assert_close(still, x, atol=1e-6, rtol=0)


@torch.no_grad()
def test_units_are_differences_of_real_images():
    artifact, judge, x = build_artifact(), build_judge(), torch.rand(4, 1, 32, 32) - 0.5
    options = argparse.Namespace(directions=1, seed=0, mode="decode")

    def embed(images):
        return images.flatten(1)[:, :5]

    figures = directions.of_class(artifact, x, 0, judge, embed, options)["direction 1"]
    step = artifact.statistics.factor(0, artifact.recommended.shrinkage)[:, 0]
    change = embed(artifact.decode(artifact.encode(x) + step)) - embed(artifact.decode(artifact.encode(x) - step))
    strangers = torch.stack([embed(x)[i] - embed(x)[i - 1] for i in range(4)])
    assert figures["identity"] == pytest.approx(float(change.norm(dim=1).mean() / strangers.norm(dim=1).mean()), 1e-5)
    assert 0 <= figures["agreement"] <= 1
    assert 0 < figures["variance"] <= 1
    still = directions.of_class(artifact, x, 0, judge, embed, argparse.Namespace(directions=0, seed=0, mode="detail"))
    assert "direction 1" not in still


def test_the_program(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(directions, "identity_embedding", lambda: None)
    checkpoint, data = build_artifact().save(tmp_path / "checkpoint"), write_folder(tmp_path / "faces", 4)
    judge = build_judge().save(tmp_path / "judge.safetensors")
    words = [str(checkpoint), str(data), "--judge", str(judge), "--directions", "2", "--images", "3"]
    assert directions.main([*words, "--json", str(tmp_path / "f.json")]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 2 + 4
    assert all("missing" in line for line in printed[2:])
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures["identity"] == "missing"
    assert set(figures["classes"]) == set(CLASSES)
    row = figures["mean"]["direction 1"]
    mean = sum(figures["classes"][name]["direction 1"]["brightness"] for name in CLASSES) / 3
    assert row["brightness"] == pytest.approx(mean, abs=2e-4)


def test_bad_input_is_one_line(tmp_path, capsys):
    checkpoint, data = build_artifact().save(tmp_path / "checkpoint"), write_folder(tmp_path / "faces", 1)
    judge = build_judge().save(tmp_path / "judge.safetensors")
    assert directions.main([str(checkpoint), str(data), "--judge", str(judge)]) == 2
    assert "has 1 images" in capsys.readouterr().err
    other = build_judge(["cat", "dog"]).save(tmp_path / "other.safetensors")
    data = write_folder(tmp_path / "more", 3)
    assert directions.main([str(checkpoint), str(data), "--judge", str(other)]) == 2
    message = capsys.readouterr().err
    assert "cat" in message
    assert CLASSES[0] in message
