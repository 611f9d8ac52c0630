import dataclasses

import pytest
import torch
from torch.testing import assert_close

import semantic_aug.trainer.classifier as module
from semantic_aug import _progress
from semantic_aug.data.dataset import ImageSet, load_folder
from semantic_aug.evaluation.classifier import Judge
from semantic_aug.model.networks import PRESETS
from semantic_aug.trainer.classifier import Classifier, balanced_accuracy, chance_accuracy, prepare_classifier
from semantic_aug.trainer.config import TrainConfig
from tests.conftest import build_judge, write_folder

CPU = torch.device("cpu")


def test_folded_norms_change_nothing_and_features_are_those_after_each_stage():
    judge, x = build_judge(["a", "b", "c"], 18), torch.randn(3, 1, 32, 32)
    features, logits = Classifier(judge)(x)
    assert_close(logits, judge.logits(x), rtol=1e-4, atol=1e-4)
    assert [tuple(each.shape[1:]) for each in features] == [(32, 16, 16), (64, 8, 8), (128, 4, 4), (256, 2, 2)]
    for each, end in zip(features, (6, 8, 10, 12), strict=True):  # four layers of stem, two blocks a stage
        assert_close(each, judge.network[:end](x), rtol=1e-4, atol=1e-4)


def test_gradients_reach_the_images_alone():
    classifier, x = Classifier(build_judge(["a", "b"], 18)), torch.randn(2, 1, 32, 32, requires_grad=True)
    features, logits = classifier(x)
    (logits.sum() + features[0].sum()).backward()
    assert x.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in classifier.parameters())


def test_balanced_accuracy_by_hand(monkeypatch):
    data = ImageSet(torch.zeros(5, 1, 32, 32, dtype=torch.uint8), torch.tensor([0, 0, 0, 1, 1]), ["a", "b"], [])
    answers = torch.tensor([0, 0, 1, 1, 1])
    judge = build_judge(data.classes, 5)
    monkeypatch.setattr(Judge, "logits", lambda _, images: torch.nn.functional.one_hot(answers, 2).float())
    assert balanced_accuracy(judge, data) == pytest.approx((2 / 3 + 1) / 2, abs=1e-6)


def test_chance_is_what_guessing_exceeds_rarely():
    """Against simulated guesses on a long tail."""
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor([200, 40, 8]))
    guesses = torch.randint(0, 3, (4000, len(labels)))
    recalls = torch.stack([(guesses[:, labels == label] == label).float().mean(1) for label in range(3)])
    exceeding = float((recalls.mean(0) > chance_accuracy(labels)).float().mean())
    assert 0.005 < exceeding < 0.05
    assert chance_accuracy(labels[:0]) >= 1
    assert chance_accuracy(labels[:50]) >= 1, "one class alone: whoever names it always is right"


@pytest.fixture
def data(tmp_path):
    return load_folder(write_folder(tmp_path / "faces", 20), 1, 32)


def config(**options):
    return TrainConfig(
        **({"network": PRESETS["tiny"], "images": 60, "data": {"angry": 1, "happy": 1, "sad": 1}} | options)
    )


def test_it_is_trained_kept_and_found_again(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(_progress, "SECONDS", 0)
    path, held_out = tmp_path / "f.safetensors", data.subset([])
    prepare_classifier(config(), data, held_out, path, CPU)
    out = capsys.readouterr().out
    assert "training the classifier of the class-aware losses, 3 epochs of 60 images" in out
    assert "classifier: epoch 1 of 3" in out
    assert "64 of 180 images of the classifier's training, " in out
    assert "taken as it is: 0 held-out images are too few" in out
    before = path.read_bytes()
    again = prepare_classifier(config(), data, held_out, path, CPU)
    assert "training" not in capsys.readouterr().out
    assert path.read_bytes() == before
    path.unlink()
    repeated = prepare_classifier(config(), data, held_out, path, CPU)
    assert path.read_bytes() == before, "what a kill cut off repeats bit for bit"
    x = data.batch(slice(0, 4))
    assert torch.equal(again(x)[1], repeated(x)[1])


def test_one_that_has_learnt_nothing_is_left_out_and_that_is_said(data, tmp_path, monkeypatch, capsys):
    build_judge(data.classes, len(data)).save(tmp_path / "f.safetensors")
    arguments = config(), data, data.subset(range(0, 60, 2)), tmp_path / "f.safetensors", CPU
    assert prepare_classifier(*arguments) is None
    assert "warning: the classifier has learnt nothing (balanced accuracy" in capsys.readouterr().out
    monkeypatch.setattr(module, "balanced_accuracy", lambda *_: 0.9)
    assert prepare_classifier(*arguments) is not None
    assert "balanced accuracy 0.900 on 30 held-out images, by chance up to 0.505" in capsys.readouterr().out


def test_of_other_images_it_is_refused(data, tmp_path):
    build_judge(data.classes, 59).save(tmp_path / "f.safetensors")
    with pytest.raises(ValueError, match=r"was trained on 59 images of .* this run has 60 .* choose another --output"):
        prepare_classifier(config(), data, data, tmp_path / "f.safetensors", CPU)


def test_without_a_question_or_with_one_class_there_is_none(data, tmp_path, capsys):
    path = tmp_path / "f.safetensors"
    silent = config(feature_weight=0, agreement_weight=0, draw_weight=0)
    assert prepare_classifier(silent, data, data, path, CPU) is None
    one = dataclasses.replace(data, classes=["angry"], labels=torch.zeros_like(data.labels))
    assert prepare_classifier(config(data={"angry": 60}), one, one, path, CPU) is None
    assert "one class only (angry): its covariance is also the pooled one, and no loss" in capsys.readouterr().out
    assert not path.exists()
