from semantic_aug.demo import DRAWN_PER_CLASS, draw_folder
from semantic_aug.labels import label_table
from semantic_aug.trainer.data import load_folder
from tests.conftest import build_artifact


def test_the_drawn_folder_has_every_class_whatever_its_name(tmp_path):
    artifact = build_artifact(classes=["T-shirt/top", "Bag", ".other"])
    draw_folder(artifact, tmp_path)
    data = load_folder(tmp_path, 1, 32)
    labels = label_table(data.classes, artifact.classes)[data.labels]
    assert labels.bincount().tolist() == [DRAWN_PER_CLASS] * 3
