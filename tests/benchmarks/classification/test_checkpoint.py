from dataclasses import replace

import pytest
import torch

from benchmarks.classification import store
from benchmarks.classification.checkpoint import compare_knowledge, load_artifact
from benchmarks.classification.command import DONE, REFUSED, main
from semantic_aug import ClassStatistics
from semantic_aug.data.dataset import load_folder
from tests.conftest import build_artifact

SMALL = ["--set", "size=32", "batch=8"]


def make_artifact(counts, classes=("angry", "happy", "sad"), images=None, **settings):
    artifact = build_artifact(classes=list(classes))
    statistics = ClassStatistics(3, artifact.network.latent_dim)
    labels = torch.arange(3).repeat_interleave(torch.tensor(counts))
    statistics.update(torch.randn(len(labels), artifact.network.latent_dim), labels)
    training = {"images": sum(counts) if images is None else images, "settings": settings}
    return replace(artifact, statistics=statistics, training=training)


@pytest.fixture
def data(root):
    return load_folder(root / "train", 1, 32)  # 12 angry, 12 happy, 4 sad


@pytest.mark.parametrize(
    ("artifact", "expected"),
    [
        (make_artifact([12, 12, 4], class_weight=0.05), "the same"),
        (make_artifact([6, 2, 4]), "the same"),
        (make_artifact([4, 12, 12], ("sad", "angry", "happy")), "the same"),
        (make_artifact([12, 12, 5]), "more labels"),
        (make_artifact([2, 2, 5]), "more labels"),
        (make_artifact([12, 12, 4], images=100), "more images"),
        (make_artifact([12, 12, 4], images=100, class_weight=0.0, draw_weight=0.0), "more images"),
        (make_artifact([12, 12, 4], images=100, draw_weight=0.1), "more labels"),
        (make_artifact([12, 12, 4], init="0123"), "more labels"),
    ],
)
def test_what_a_checkpoint_knows(artifact, data, expected):
    assert compare_knowledge(artifact, data) == expected


def test_a_checkpoint_of_more_labels_is_refused_or_named(command, tmp_path, data, capsys):
    path = make_artifact([12, 12, 40]).save(tmp_path / "rich")
    command.remove("--more-labels")
    words = [*command, "--checkpoint", str(path), "--arms", "ours", *SMALL]
    assert main(words) == REFUSED
    expected = "saw labels that the classifier does not get: its statistics come from [12, 12, 40] images"
    assert expected in capsys.readouterr().err
    assert main([*words, "--more-labels"]) == DONE
    fair = make_artifact([12, 12, 4]).save(tmp_path / "fair")
    assert main([*command, "--checkpoint", str(fair), "--arms", "ours", "none", *SMALL]) == DONE
    lines = store.read(tmp_path / "runs.jsonl")
    saw = [line["settings"].get("checkpoint_saw") for line in lines]
    assert saw == ["more labels", "the same", None]


def test_classes_that_differ_are_refused_with_both_lists(data):
    with pytest.raises(
        ValueError, match=r"the data has the classes \['angry', 'happy', 'sad'\], checkpoint fer2013-48"
    ):
        load_artifact("fer2013-48", data)
