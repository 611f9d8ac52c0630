import json

import pytest
import torch

from benchmarks import plane as program
from semantic_aug.evaluation.classifier import ARCHITECTURES, Judge
from semantic_aug.evaluation.plane import plane
from semantic_aug.evaluation.points import Point
from tests.conftest import build_artifact, write_folder
from tests.evaluation import made_up
from tests.evaluation.test_classifier import build_judge

POINTS = [
    Point(mode, name, strength)
    for mode in ("decode", "detail")
    for name in ("covariance", "isotropic")
    for strength in (0.5, 2.0, 8.0)
]


def measure(judges=None, **options):
    judges = judges or {"a": made_up.build_judge(), "b": made_up.build_judge()}
    return plane(
        made_up.build_artifact(), made_up.build_images(100), judges, made_up.difference, points=POINTS, **options
    )


def test_gates_are_the_figures_of_the_judge_that_finds_them_worse():
    found = measure(training=made_up.build_images(30))
    gates = program.gates(found)
    assert list(gates) == list(program.GATES)
    assert (gates["probe"]["value"], gates["probe"]["passed"]) == (1, True)
    assert gates["reconstruction agrees"]["value"] == 1
    (reach,) = {
        each.diversity.value for each in found.reach if (each.mode, each.perturbation) == ("detail", "covariance")
    }
    assert gates["draws at 75 % agreement"]["value"] == pytest.approx(reach, abs=1e-6)
    parts = [each.accuracy.value for each in found.ahead if each.judge == "a"]
    assert gates["ahead of isotropic"]["value"] == pytest.approx(sum(parts) / len(parts), abs=1e-6)
    assert gates["ahead of isotropic"]["error"] > 0
    assert gates["ahead of isotropic"]["passed"] == (sum(parts) / len(parts) >= 0.05)


def test_a_gate_that_was_not_measured_is_not_passed():
    found = measure({"a": made_up.build_judge(), "b": made_up.build_judge(made_up.Nothing())})
    gates = program.gates(found)
    assert [gate["value"] for gate in gates.values()] == [None] * 4
    assert not any(gate["passed"] for gate in gates.values())
    row = program.row(found, build_artifact())
    assert row[-4:] == ["not measured"] * 4


def test_the_program_appends_a_line_for_each_checkpoint(tmp_path, capsys, torch_home):
    first = build_artifact().save(tmp_path / "run" / "checkpoint")
    second = build_artifact().save(tmp_path / "other")
    train, held_out = write_folder(tmp_path / "train", 6), write_folder(tmp_path / "held", 4, seed=1)
    judges = tmp_path / "judges"
    for name in ARCHITECTURES:
        judge = build_judge(architecture=name)
        judge.images = 18
        judge.save(judges / f"{name}.safetensors")
    words = [
        str(first),
        str(second),
        "--train",
        str(train),
        "--held-out",
        str(held_out),
        "--judges",
        str(judges),
        "--strengths",
        "0.5",
        "--imbalance",
        "3",
        "--json",
        str(tmp_path / "r.jsonl"),
    ]
    assert program.main(words) == 0
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert [line["checkpoint"] for line in lines] == ["run", "other"]
    assert lines[0]["plane"]["images"] == 12
    assert lines[0]["plane"]["probe"]["images"] == 11  # 6, 3 and 2 of the 18
    assert (lines[0]["imbalance"], lines[0]["held_out"], lines[0]["identity"]) == (3, "held", "not measured")
    assert str(tmp_path) not in (tmp_path / "r.jsonl").read_text()
    assert lines[0]["plane"] == lines[1]["plane"]
    out = capsys.readouterr().out
    assert out.rstrip().splitlines()[-2].startswith("| run | 0.35 | ")
    assert program.main(words) == 0
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 4


def test_bad_input_is_one_line(tmp_path, capsys, torch_home):
    checkpoint, data = build_artifact().save(tmp_path / "checkpoint"), write_folder(tmp_path / "faces", 2)
    judge = build_judge()
    judge.save(tmp_path / "resnet18-half.safetensors")
    words = [str(checkpoint), "--train", str(data), "--held-out", str(data), "--judges", str(tmp_path)]
    assert program.main(words) == 2
    expected = "is a judge resnet18-half trained on 5 images, expected resnet18-half trained on 6"
    assert expected in capsys.readouterr().err
    assert program.main([str(tmp_path / "nothing"), *words[1:]]) == 2


def test_judges_are_trained_once(tmp_path, monkeypatch):
    trained = []

    def train(training, held_out, *, architecture, **options):
        trained.append(architecture)
        judge = build_judge(architecture=architecture)
        judge.images = len(training)
        return judge

    monkeypatch.setattr(program, "train_judge", train)
    data = made_up.build_images(3)
    for _ in range(2):
        judges = program.judges_of(tmp_path, data, data, seed=0)
    assert trained == list(judges) == list(ARCHITECTURES)
    assert isinstance(judges["vgg-small"], Judge)
    assert torch.is_tensor(judges["vgg-small"].network[0].weight)
