import argparse

import pytest

from benchmarks.classification import command as program
from benchmarks.classification import store
from benchmarks.classification.bases import BASES
from benchmarks.classification.command import DONE, FAILED, REFUSED, WORK_LEFT, main, parse_setting
from benchmarks.classification.protocol import COMMON, VERSION
from tests.conftest import CLASSES, write_folder

pytest.importorskip("torchmetrics")
SMALL = ["--set", "size=32", "batch=8"]


def test_runs_add_lines_and_a_run_that_is_there_is_skipped(command, tmp_path, capsys):
    words = [*command, "--arms", "none", "ours+randaugment", "randaugment/ours", "isda", *SMALL]
    assert main(words) == DONE
    lines = store.read(tmp_path / "runs.jsonl")
    assert [line["arm"] for line in lines] == ["none", "ours+randaugment", "randaugment/ours", "isda"]
    for line in lines:
        assert (line["data"], line["split"], line["dedup"], line["protocol"]) == ("tiny", "validation", None, VERSION)
        assert COMMON.keys() <= line["settings"].keys()
        assert line["balanced_accuracy"] == pytest.approx(sum(line["recall"]) / 3, abs=1e-5)
        assert line["classes"] == ["angry", "happy", "sad"]
        assert (line["counts"], line["measured_counts"]) == ([12, 12, 4], [4, 4, 4])
        assert line["images_per_s"] > 0
        assert ("fingerprint" in line["settings"]) == ("ours" in line["arm"])
        assert None not in line["settings"].values()
    capsys.readouterr()
    assert main([*words, "--plan"]) == DONE
    assert "0 of 4 runs are missing: 0.0 min" in capsys.readouterr().out
    assert main(words) == DONE
    assert capsys.readouterr().out == ""
    assert len(store.read(tmp_path / "runs.jsonl")) == 4


def test_bases_are_different_runs(command, tmp_path):
    for base in BASES:
        assert main([*command, "--base", base, "--arms", "none", *SMALL]) == DONE
    lines = store.read(tmp_path / "runs.jsonl")
    assert [line["base"] for line in lines] == list(BASES)
    assert len(set(map(store.identity, lines))) == len(BASES)


@pytest.mark.parametrize("classifier", ["resnet34", "dan", "resnet18-half"])
def test_other_classifiers_and_the_test_split(command, tmp_path, classifier):
    words = ["--classifier", classifier, "--split", "test", "--arms", "mixup", "--set", "crop=none", "size=32"]
    assert main([*command, *words, "batch=28", "precision=bf16"]) == DONE
    (line,) = store.read(tmp_path / "runs.jsonl")
    assert (line["classifier"], line["split"], line["settings"]["crop"]) == (classifier, "test", "none")


def test_the_other_split_takes_the_training_that_was_kept(command, tmp_path, monkeypatch):
    words = [*command, "--arms", "none", "ours", *SMALL]
    assert main([*words, "--split", "test"]) == DONE
    expected = store.read(tmp_path / "runs.jsonl")
    words += ["--keep", str(tmp_path / "states"), "--results", str(tmp_path / "kept.jsonl")]
    assert main(words) == DONE
    kept = sorted((tmp_path / "states").iterdir())
    assert len(kept) == 2
    assert main([*words, "--split", "test"]) == DONE
    assert sorted((tmp_path / "states").iterdir()) == kept
    screened, reported = store.read(tmp_path / "kept.jsonl")[:2], store.read(tmp_path / "kept.jsonl")[2:]
    assert [line["images_per_s"] for line in reported] == [line["images_per_s"] for line in screened]
    for line, other in zip(reported, expected, strict=True):
        assert {**line, "images_per_s": 0} == {**other, "images_per_s": 0}
    # Another setting, or other data, is another training.
    assert main([*words, "--split", "test", "--set", "size=48", "batch=8", "--arms", "none"]) == DONE
    assert main([*words, "--imbalance", "3", "--results", str(tmp_path / "cut.jsonl"), "--arms", "none"]) == DONE
    assert len(list((tmp_path / "states").iterdir())) == 4


def test_no_time_is_work_left_and_the_same_command_goes_on(command, tmp_path, capsys):
    words = [*command, "--arms", "none", *SMALL, "--keep", str(tmp_path / "states")]
    assert main([*words, "--minutes", "0"]) == WORK_LEFT
    assert "the time is up; run the same command to continue" in capsys.readouterr().out
    assert not (tmp_path / "runs.jsonl").exists()
    assert main(words) == DONE
    assert main([*words, "--minutes", "0"]) == DONE


def test_the_plan_knows_rates(command, tmp_path, capsys):
    words = [*command, "--arms", "none", "mixup", "cutmix", "--seeds", "2", *SMALL]
    assert main([*words, "--plan"]) == DONE
    assert "6 of 6 runs are missing: 0.0 min, and 6 of unknown duration" in capsys.readouterr().out
    assert not (tmp_path / "runs.jsonl").exists()
    for arm, rate in (("none", 0.5), ("mixup", 1.0)):
        line = dict.fromkeys((*store.IDENTITY, *store.FIGURES)) | {"arm": arm, "settings": {"size": 32}}
        store.append(tmp_path / "runs.jsonl", line | {"classifier": "resnet18-quarter", "images_per_s": rate})
    assert main([*words, "--plan"]) == DONE
    out = capsys.readouterr().out
    # 2 epochs of 28 images: 112 s and 56 s, and at the rate of the last other run 56 s, for each of two seeds.
    assert [line.split()[-2] for line in out.splitlines()[:3]] == ["1.9", "0.9", "0.9"]
    assert "6 of 6 runs are missing: 7.5 min" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--arms", "nonsense"], "unknown arm 'nonsense': no part is named 'nonsense'; known: none, ours"),
        (["--classifier", "vgg"], "argument --classifier: invalid choice: 'vgg'"),
        (["--base", "smooth"], "argument --base: invalid choice: 'smooth'"),
        (["--arms", "none", "--set", "strength=1"], "arm 'none' has no setting 'strength'; it has size,"),
        (["--set", "mode=blur", "--arms", "pooled"], "mode must be one of ('decode', 'detail'), got 'blur'"),
        (["--set", "batch=1.5"], "batch must be a number (int) in [2, inf], got 1.5"),
        (["--set", "p=2", "--arms", "smote"], "p must be a number (float) in [0, 1], got 2"),
        (["--set", "shrinkage=much", "--arms", "pooled"], "shrinkage must be"),
        (["--set", "optimiser=adam"], "optimiser must be one of ('sgd-nesterov',), got 'adam'"),
        (["--classifier", "dan", "--arms", "isda"], "arm 'isda' needs features before a linear layer"),
        (["--classifier", "dan", "--arms", "none/none"], "arm 'none/none' needs features"),
        (["--set", "size=big"], "size must be a number (int) in [16, 1024], got 'big'"),
        (["--epochs", "0"], "--epochs and --seeds must be at least 1, got 0 and 1"),
        (["--imbalance", "0.5"], "the imbalance ratio must be at least 1"),
        (["--train", "nowhere"], "nowhere"),
        (["--checkpoint", "fer2013-48", "--arms", "ours"], "the data has the classes ['angry', 'happy', 'sad']"),
    ],
)
def test_what_cannot_be_is_one_line(command, capsys, words, message):
    assert main([*command, *words]) == REFUSED
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_class_missing_in_a_split_is_refused_with_both_lists(command, tmp_path, capsys):
    other = write_folder(tmp_path / "two", 3, classes=CLASSES[:2])
    assert main([*command, "--validation", str(other)]) == REFUSED
    expected = "train has the classes ['angry', 'happy', 'sad'], validation has ['angry', 'happy']"
    assert expected in capsys.readouterr().err
    assert main([*command[:3], "--split", "test"]) == REFUSED
    assert "pass --test" in capsys.readouterr().err
    assert main([]) == REFUSED
    assert "pass NAME and --train DATA, or --queue FILE" in capsys.readouterr().err


def test_a_checkpoint_is_not_measured_on_images_that_it_may_know(root, capsys):
    assert main(["tiny", "--train", str(root / "train"), "--arms", "none", "ours"]) == REFUSED
    assert "which the checkpoint may have been trained on; pass --validation" in capsys.readouterr().err


def test_a_run_that_fails_does_not_hold_up_the_others(command, tmp_path, capsys, monkeypatch):
    train = program.train

    def diverge(run, *arguments, **options):
        settings = run["settings"] | ({"learning_rate": 1e9} if run["arm"] == "none" else {})
        return train(run | {"settings": settings}, *arguments, **options)

    monkeypatch.setattr(program, "train", diverge)
    assert main([*command, "--arms", "none", "mixup", *SMALL, "--epochs", "4"]) == FAILED
    assert "seed 0, is not finite; lower learning_rate" in capsys.readouterr().err
    assert [line["arm"] for line in store.read(tmp_path / "runs.jsonl")] == ["mixup"]


def test_other_data_of_the_same_name_is_refused(command, root, tmp_path, capsys):
    words = [*command, "--arms", "none", *SMALL]
    assert main(words) == DONE
    assert main([*words, "--validation", str(root / "train"), "--seeds", "2"]) == REFUSED
    said = capsys.readouterr().err
    assert "with measured_digest" in said
    assert "so the images differ; choose another NAME for this data" in said
    assert len(store.read(tmp_path / "runs.jsonl")) == 1


def test_a_setting_is_json_or_text():
    assert parse_setting("p=0.5") == ("p", 0.5)
    assert parse_setting("mode=decode") == ("mode", "decode")
    assert parse_setting("strength=null") == ("strength", None)
    with pytest.raises(argparse.ArgumentTypeError, match="expected NAME=VALUE"):
        parse_setting("p")
