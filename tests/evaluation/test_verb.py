import json
import re

import pytest
from PIL import Image

from semantic_aug import _progress
from semantic_aug.cli.main import main
from semantic_aug.data.dataset import load_folder
from semantic_aug.evaluation import fid
from semantic_aug.evaluation import plane as module
from semantic_aug.evaluation.classifier import ARCHITECTURES, Judge, train_judge
from tests.conftest import write_folder
from tests.evaluation.test_classifier import build_judge


def run(*words):
    return main([str(word) for word in words])


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(fid, "SUBSETS", 2)
    monkeypatch.setattr("semantic_aug.evaluation.identity.identity_embedding", lambda: None)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two judges that can judge the images of the fixture ``folder``."""
    data = load_folder(write_folder(tmp_path_factory.mktemp("judged") / "faces"), 1, 16)
    return [
        train_judge(data, architecture=name, epochs=12, batch=6, learning_rate=0.02, seed=1, say=lambda line: None)
        for name in ARCHITECTURES
    ]


@pytest.fixture
def judges(trained, tmp_path):
    """Where they are kept: the first one's file, the other's is beside it."""
    for judge, file in zip(trained, ("judge.safetensors", "judge-vgg-small.safetensors"), strict=True):
        judge.save(tmp_path / file)
    return tmp_path / "judge.safetensors"


def test_the_plane_is_printed_drawn_and_part_of_the_json(saved, folder, judges, tmp_path, capsys, torch_home):
    words = ("evaluate", saved, folder, "--judge", judges, "--train", folder, "--device", "cpu", "--compared", 6)
    assert run(*words, "--plane", tmp_path / "plane.png", "--json", tmp_path / "f.json") == 0
    out, err = capsys.readouterr()
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures == json.loads(out)
    found = figures["plane"]
    assert set(found["judges"]) == set(ARCHITECTURES)
    assert found["images"] == 18
    assert found["probe"]["images"] == 18
    assert {"real", "reconstruction", "RandAugment", "detail covariance 0.35"} <= set(found["measured"])
    able = [name for name, judge in found["judges"].items() if judge["can_judge"]]
    assert able
    assert set(found["measured"]["detail covariance 0.35"]["affinity"]) == set(able)
    assert "| detail covariance 0.35 " in err
    assert f"wrote {tmp_path / 'plane.png'}" in err
    with Image.open(tmp_path / "plane.png") as picture:
        assert picture.width > 500


def test_the_second_judge_is_trained_where_it_is_missing_and_kept(
    saved, folder, judges, tmp_path, monkeypatch, capsys, torch_home
):
    monkeypatch.setattr(_progress, "SECONDS", 0)
    second = tmp_path / "judge-vgg-small.safetensors"
    second.unlink()
    monkeypatch.setattr(module, "default_points", lambda artifact: [])
    words = (
        "evaluate",
        saved,
        folder,
        "--judge",
        judges,
        "--device",
        "cpu",
        "--compared",
        6,
        "--plane",
        tmp_path / "p.png",
    )
    assert run(*words) == 2  # nothing to train it on
    assert run(*words, "--train", folder) == 0
    assert re.search(r"^128 of 180 images of the judge's training, \S.* left$", capsys.readouterr().err, re.MULTILINE)
    assert Judge.load(second).architecture == "vgg-small"
    written = second.read_bytes()
    assert run(*words) == 0
    assert second.read_bytes() == written
    second.unlink()
    assert run(*words, "--train", folder, "--precision", "bf16") == 0
    assert second.read_bytes() != written


def test_a_judge_near_chance_is_said_and_left_out(saved, folder, tmp_path, capsys, monkeypatch, torch_home):
    monkeypatch.setattr(module, "default_points", lambda artifact: [])
    for name, file in (("resnet18-half", "judge.safetensors"), ("vgg-small", "judge-vgg-small.safetensors")):
        build_judge(architecture=name).save(tmp_path / file)
    words = ("evaluate", saved, folder, "--judge", tmp_path / "judge.safetensors", "--device", "cpu", "--compared", 6)
    assert run(*words) == 0
    out, err = capsys.readouterr()
    assert "agreement" not in json.loads(out)
    assert "Judge resnet18-half, trained on 5 images, cannot judge: it is right on" in err
    assert run(*words, "--plane", tmp_path / "p.png", "--json", tmp_path / "f.json") == 1
    out, err = capsys.readouterr()
    assert "p.png is not drawn, for no judge can judge these images" in err.splitlines()[-1]
    assert json.loads((tmp_path / "f.json").read_text())["plane"]["measured"]["RandAugment"]["affinity"] == {}
    assert not (tmp_path / "p.png").exists()


def test_bad_input_is_refused(saved, folder, judges, tmp_path, capsys):
    assert run("evaluate", saved, folder, "--plane", tmp_path / "p.png") == 2
    assert "--plane shows the judge's verdicts; give --train DATA" in capsys.readouterr().err
    assert run("evaluate", saved, folder, "--plane", tmp_path / "p.gif") == 2
    assert "--plane must end in .png, got p.gif" in capsys.readouterr().err
    (tmp_path / "judge-vgg-small.safetensors").write_bytes(judges.read_bytes())
    words = ("evaluate", saved, write_folder(tmp_path / "more", 2), "--judge", judges, "--device", "cpu")
    assert run(*words, "--plane", tmp_path / "p.png") == 2
    assert "is a judge of architecture resnet18-half, expected vgg-small" in capsys.readouterr().err
