import shutil

from benchmarks.classification import store
from benchmarks.classification.command import main, parse
from benchmarks.classification.data import load, match_classes
from benchmarks.classification.digest import digest
from semantic_aug.data.dataset import cut_to_imbalance, load_folder
from tests.conftest import write_folder

SMALL = ["--set", "size=32", "batch=8"]


def test_labels_are_matched_by_name(tmp_path):
    data = load_folder(write_folder(tmp_path / "a", 2, classes=["cat", "Dog"]), 1, 32)
    other = load_folder(write_folder(tmp_path / "b", 2, classes=["Cat", "dog"]), 1, 32)
    assert other.classes == ["Cat", "dog"]
    assert data.classes == ["Dog", "cat"]
    assert match_classes(data, other, "test").labels.tolist() == [1, 1, 0, 0]


def test_one_source_for_both_splits_is_halved(command, root):
    words = [f"{root / 'test'}/" if word == str(root / "validation") else word for word in command]
    halves = [load(parse([*words, "--split", split]))[1] for split in ("validation", "test")]
    files = [set(half.files) for half in halves]
    assert [len(half) for half in halves] == [6, 6]
    assert files[0] | files[1] == set(load_folder(root / "test", 1, 32).files)


def test_a_held_out_part_and_an_imbalance(tmp_path):
    train = write_folder(tmp_path / "many", 40)
    options = parse(["tiny", "--train", str(train), "--imbalance", "4"])
    data, measured = load(options)
    assert not set(data.files) & set(measured.files)
    assert len(measured) == 12
    assert data.counts()[2] == 10  # a quarter of the largest class, of which 39 or 40 were left


def test_the_cut_is_that_of_the_trainer_whatever_is_left_out(tmp_path):
    train, test = write_folder(tmp_path / "many", 40), write_folder(tmp_path / "few", 2, seed=1)
    expected = cut_to_imbalance(load_folder(train, 1, 48), 10)
    shutil.copy(expected.files[0], test / "angry" / "copy.png")
    words = ["tiny", "--train", str(train), "--test", str(test), "--split", "test", "--imbalance", "10"]
    data, _ = load(parse([*words, "--dedup", "train"]))
    assert data.files == expected.files[1:]


def test_pictures_of_both_parts_are_left_out_of_one(command, root, tmp_path):
    root, shared = shutil.copytree(root, tmp_path / "faces"), root
    command = [word.replace(str(shared), str(root)) for word in command]
    for split, name in (("validation", "happy"), ("test", "sad")):
        shutil.copy(root / "train" / name / "1.png", root / split / name / "copy.png")
    whole, _ = load(parse(command))
    data, _ = load(parse([*command, "--dedup", "train"]))
    left_out = {file.relative_to(root / "train").as_posix() for file in set(whole.files) - set(data.files)}
    assert left_out == {"happy/1.png", "sad/1.png"}  # of both splits, whichever is measured on
    shutil.copytree(root / "train", root / "twice")  # every picture two times, so that a held-out one is in train too
    for file in list((root / "twice").rglob("*.png")):
        shutil.copy(file, file.with_name(f"copy-{file.name}"))
    words = ["tiny", "--train", str(root / "twice"), "--test", str(root / "test"), "--dedup", "train"]
    rest, part = load(parse([*words, *SMALL]))
    pictures = [{file.name.removeprefix("copy-") + file.parent.name for file in one.files} for one in (rest, part)]
    assert pictures[1]
    assert not pictures[0] & pictures[1]
    kept, measured = load(parse([*command, "--dedup", "held-out", "--imbalance", "12"]))
    assert root / "train" / "happy" / "1.png" not in kept.files  # cut off, but a checkpoint may know it
    assert {file.name for file in measured.files} == {f"{number}.png" for number in range(4)}
    for part in ("train", "held-out"):
        assert main([*command, "--arms", "none", "--dedup", part, *SMALL]) == 0
    one, two = store.read(tmp_path / "runs.jsonl")
    assert len(data) == len(whole) - 2
    assert (one["dedup"], one["images"], one["measured"]) == ("train", len(data), 13)
    assert (two["dedup"], two["images"], two["measured"]) == ("held-out", len(whole), 12)


def test_a_digest_is_of_pixels_and_labels(root):
    data = load_folder(root / "train", 1, 32)
    assert digest(data) == digest(load_folder(root / "train", 1, 32))
    assert digest(data) != digest(load_folder(root / "train", 1, 48))
    assert digest(data) != digest(data.subset(range(27, -1, -1)))
