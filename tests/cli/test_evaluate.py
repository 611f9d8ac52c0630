import json
from functools import partial

from PIL import Image

from semantic_aug.evaluation.classifier import train_judge
from tests.cli.conftest import run
from tests.conftest import write_folder


def test_evaluate_prints_and_writes_the_same_figures(saved, folder, tmp_path, capsys, torch_home):
    assert run("evaluate", saved, folder, "--json", tmp_path / "f.json", "--device", "cpu") == 0
    figures = json.loads((tmp_path / "f.json").read_text())
    out, err = capsys.readouterr()
    assert figures == json.loads(out)
    assert set(figures["reconstruction"]) == {f"{n}_{m}" for n in ("l1", "psnr", "lpips") for m in ("mean", "std")}
    assert "agreement" not in figures
    assert "class agreement is left out" in err
    error = figures["reconstruction"]
    assert f"reconstruction of 18 images: L1 {error['l1_mean']:.3f}, LPIPS {error['lpips_mean']:.3f}\n" in err
    assert err.endswith(f"next: look at the augmentations with semantic-aug preview\nwrote {tmp_path / 'f.json'}\n")


def test_on_a_terminal_stdout_is_json_too(saved, folder, capsys, torch_home, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert run("evaluate", saved, folder, "--device", "cpu") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["images"] == 18
    assert "252/252" in err


def test_evaluate_trains_a_judge_and_keeps_it(saved, folder, tmp_path, capsys, torch_home, monkeypatch):
    settings = {"epochs": 12, "batch": 6, "learning_rate": 0.02}  # that so few images can be learnt with
    monkeypatch.setattr("semantic_aug.evaluation.classifier.train_judge", partial(train_judge, **settings))
    common = ("evaluate", saved, folder, "--judge", tmp_path / "judge", "--device", "cpu", "--compared", 9)
    assert run(*common, "--train", folder, "--picture", tmp_path / "a.png") == 0
    out, err = capsys.readouterr()
    assert "training the judge resnet18-half on 18 real images" in err
    agreement = json.loads(out)["agreement"]
    assert {"real", "reconstruction", "detail"} <= agreement.keys()
    shares = [
        found["accuracy"] for found in (agreement["real"], agreement["reconstruction"], agreement["detail"]["0.35"])
    ]
    assert f"the judge sees the right class in {shares[0]:.0%} of real images, {shares[1]:.0%} of reconst" in err
    assert f"{shares[2]:.0%} of augmentations in mode detail at strength 0.35\n" in err
    assert f"wrote {tmp_path / 'judge'}\n" in err
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
