from semantic_aug.cli.demonstration import DRAWN_PER_CLASS, draw
from tests.conftest import build_artifact


def test_every_class_is_drawn_and_always_alike():
    artifact = build_artifact()
    images, labels = draw(artifact)
    assert images.shape == (3 * DRAWN_PER_CLASS, 1, 32, 32)
    assert labels.bincount().tolist() == [DRAWN_PER_CLASS] * 3
    assert (images == draw(artifact)[0]).all()
