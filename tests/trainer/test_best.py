import pytest

from semantic_aug.model.hub import previous
from semantic_aug.trainer.best import LOSS, keep_best, load_best, remove_best
from tests.conftest import build_artifact


def snapshot(images_seen):
    artifact = build_artifact()
    artifact.training = {"images_seen": images_seen}
    return artifact


def test_the_lowest_loss_is_kept(tmp_path):
    for images_seen, loss, best in ((1, 0.3, 0.3), (2, 0.4, 0.3), (3, 0.2, 0.2)):
        keep_best(snapshot(images_seen), loss, tmp_path / "best")
        assert load_best(tmp_path / "best").training[LOSS] == best


def test_one_whose_replacement_was_killed_is_found_and_deleted(tmp_path):
    keep_best(snapshot(1), 0.1, tmp_path / "best")
    (tmp_path / "best").rename(previous(tmp_path / "best"))  # between the two renames
    keep_best(snapshot(2), 0.3, tmp_path / "best")
    assert load_best(tmp_path / "best").training == {"images_seen": 1, LOSS: 0.1}
    remove_best(tmp_path / "best")
    assert not [*tmp_path.iterdir()]


def test_what_a_killed_replacement_left_is_deleted_with_it(tmp_path):
    for name in ("best", previous(tmp_path / "best").name):
        snapshot(1).save(tmp_path / name)
    remove_best(tmp_path / "best")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("damage", ["a flipped bit", "no loss"])
def test_a_damaged_one_is_named_and_replaced(tmp_path, damage):
    keep_best(snapshot(1), 0.1, tmp_path / "best")
    if damage == "no loss":
        snapshot(1).save(tmp_path / "best", overwrite=True)
    else:
        path = tmp_path / "best" / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.warns(UserWarning, match=r"best.*; it is no longer the best snapshot"):
        keep_best(snapshot(2), 0.3, tmp_path / "best")
    assert load_best(tmp_path / "best").training == {"images_seen": 2, LOSS: 0.3}


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "others").mkdir()
    (tmp_path / "best").symlink_to(tmp_path / "others")
    with pytest.raises(ValueError, match=r"best is a link to .*others"):
        keep_best(snapshot(1), 0.1, tmp_path / "best")
