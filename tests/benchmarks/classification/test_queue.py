import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from benchmarks.classification import command as program
from benchmarks.classification import store
from benchmarks.classification.command import DONE, FAILED, REFUSED, WORK_LEFT, main

pytest.importorskip("torchmetrics")
ROOT = Path(__file__).parents[3]


@pytest.fixture
def queue(root, tmp_path, monkeypatch):
    """A file of three runs, and the words that run it."""
    monkeypatch.setenv("FACES", str(root))
    path = tmp_path / "queue.txt"
    line = "tiny --train $FACES/train --validation $FACES/validation --epochs 2"
    path.write_text(
        f"# a comment\n\n{line} --arms none mixup --set size=32 batch=8  # and another\n{line} --base balanced\n"
    )
    words = ["--queue", str(path), "--results", str(tmp_path / "runs.jsonl"), "--keep", str(tmp_path / "states")]
    return path, [*words, "--set", "size=32", "batch=4", "--device", "cpu"]


def test_a_queue_is_done_line_by_line_and_goes_on(queue, tmp_path, capsys):
    _, words = queue
    assert main([*words, "--minutes", "0"]) == WORK_LEFT
    assert main(words) == DONE
    lines = store.read(tmp_path / "runs.jsonl")
    assert [(line["base"], line["arm"]) for line in lines] == [
        ("natural", "none"),
        ("natural", "mixup"),
        ("balanced", "none"),
    ]
    assert [line["settings"]["batch"] for line in lines] == [8, 8, 4]  # what a line does not say is said for all
    capsys.readouterr()
    assert main([*words, "--minutes", "0"]) == DONE
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("tiny --train x --arms none rand", "unknown arm 'rand': no part is named 'rand'"),
        ("tiny --train x --epochs many", "argument --epochs: invalid int value: 'many'"),
        ("tiny --train x --results y", "--queue and --results apply to the whole queue"),
        ("tiny --train x --queue y", "--queue and --results apply to the whole queue"),
        ("--arms none", "pass NAME and --train DATA"),
        ("tiny --train 'x", "No closing quotation"),
    ],
)
def test_a_line_that_cannot_be_is_named_before_the_first_run(queue, tmp_path, capsys, line, message):
    path, words = queue
    path.write_text(path.read_text() + line + "\n")
    assert main(words) == REFUSED
    error = capsys.readouterr().err
    assert f"{path}:5: " in error
    assert message in error
    assert not (tmp_path / "runs.jsonl").exists()


def test_data_that_cannot_be_names_the_line(queue, capsys):
    path, words = queue
    path.write_text("tiny --train nowhere --arms none\n")
    assert main(words) == REFUSED
    assert f"{path}:1: nowhere" in capsys.readouterr().err


def test_two_queues_on_one_file_are_refused(queue, tmp_path, capsys):
    path, words = queue
    with FileLock(tmp_path / "runs.jsonl.lock"):
        assert main(words) == REFUSED
    assert f"another queue writes to {tmp_path / 'runs.jsonl'}" in capsys.readouterr().err
    path.write_text("")
    assert main(words) == DONE


def test_a_run_that_fails_is_told_in_the_end(queue, tmp_path, capsys, monkeypatch):
    _, words = queue
    train = program.train

    def fail(run, *arguments, **options):
        if run["arm"] == "mixup":
            raise RuntimeError("the loss is not finite")
        return train(run, *arguments, **options)

    monkeypatch.setattr(program, "train", fail)
    assert main(words) == FAILED
    assert capsys.readouterr().err == "classification: the loss is not finite\n"
    assert [line["base"] for line in store.read(tmp_path / "runs.jsonl")] == ["natural", "balanced"]


def test_a_queue_that_is_killed_goes_on_where_it_was(queue, tmp_path):
    path, words = queue
    path.write_text(path.read_text().replace("--epochs 2", "--epochs 400"))
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.classification", *words], cwd=ROOT)
    try:
        while not (tmp_path / "runs.jsonl.lock").exists() and process.poll() is None:
            time.sleep(0.05)
        time.sleep(0.5)
    finally:
        process.kill()
        process.wait()
    path.write_text(path.read_text().replace("--epochs 400", "--epochs 2"))
    assert main(words) == DONE  # the lock of a process that is gone is free
    assert len(store.read(tmp_path / "runs.jsonl")) == 3
