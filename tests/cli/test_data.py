"""What is said of data."""

import pytest

from semantic_aug.cli.data import describe
from tests.cli.conftest import run
from tests.conftest import CLASSES, write_folder


def test_a_few_classes_are_listed_in_label_order():
    assert describe("faces", ["sad", "angry", "happy"], [3, 5, 1]) == [
        "faces: 9 images of 3 classes: sad 3, angry 5, happy 1",
        "one image only: happy",
    ]
    assert describe("faces", ["sad"], [2]) == ["faces: 2 images of 1 class: sad 2"]


def test_of_many_classes_the_largest_and_the_smallest_are_listed():
    names = [f"c{label}" for label in range(1000)]
    (first, second) = describe("birds", names, [1 + (label - 7) % 1000 for label in range(1000)])
    assert first == (
        "birds: 500500 images of 1000 classes: c6 1000, c5 999, c4 998, c3 997, c2 996, ..., c9 3, c8 2, c7 1"
    )
    assert second == "one image only: c7"
    (_, second) = describe("birds", names, [1] * 1000)
    assert second == f"one image only: {', '.join(names[:12])}, ..."


COMMANDS = [
    ["train", "{folder}", "--output", "{tmp}/o", "--preset", "tiny", "--images", "64", "--device", "cpu"],
    ["fit", "{saved}", "{folder}", "--output", "{tmp}/o"],
    ["encode", "{saved}", "{folder}", "--output", "{tmp}/o"],
    ["expand", "{saved}", "{folder}", "--output", "{tmp}/o", "--balance"],
    ["evaluate", "{saved}", "{folder}", "--device", "cpu"],
    ["preview", "{saved}", "{folder}", "--output", "{tmp}/a.png", "--figure", "counts"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=[command[0] for command in COMMANDS])
def test_every_command_begins_with_the_classes_and_their_counts(command, saved, tmp_path, capsys, torch_home):
    folder = write_folder(tmp_path / "faces", 3)
    for number in (1, 2):
        (folder / "sad" / f"{number}.png").unlink()
    places = {"folder": folder, "saved": saved, "tmp": tmp_path}
    assert run(*(word.format(**places) for word in command)) == 0
    out, err = capsys.readouterr()
    said = (err if command[0] == "evaluate" else out).splitlines()
    assert said[:2] == [f"{folder}: 7 images of 3 classes: angry 3, happy 3, sad 1", "one image only: sad"]


def test_other_classes_are_refused_before_an_image_is_read(saved, tmp_path, line):
    folder = write_folder(tmp_path / "faces", 2, classes=[*CLASSES, "tired"])
    (folder / "angry" / "0.png").write_bytes(b"broken")
    assert run("preview", saved, folder, "--output", tmp_path / "a.png") == 2
    assert "unknown classes ['tired']" in line()
