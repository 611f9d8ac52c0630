"""The files of a run's log."""

import json
import threading
from contextlib import suppress

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from semantic_aug.trainer.log import RunLog


def test_tensorboard_reads_what_is_logged(tmp_path):
    with RunLog(tmp_path, 200, 0) as log:
        log.record(64, {"l1": 0.5})
        log.record(128, {"l1": 0.25, "kl": 3.0})
    assert [json.loads(line)["l1"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [0.5, 0.25]
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in board.Scalars("l1")] == [(64, 0.5), (128, 0.25)]
    assert [event.step for event in board.Scalars("kl")] == [128]


@pytest.mark.parametrize("pattern", ["log.jsonl", "tensorboard/*"])
def test_a_full_disk_is_one_error_about_a_file_of_the_run(pattern, small_disk, monkeypatch):
    """It is raised at once, and by no thread."""
    died = []
    monkeypatch.setattr(threading, "excepthook", died.append)
    with RunLog(small_disk, 100, 0) as log:
        log.record(0, {"l1": 0.5})
        (file,) = small_disk.glob(pattern)
        with file.open("ab") as last_page:  # the other file has room left in its page
            last_page.write(bytes(-file.stat().st_size % 4096))
        with suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))
        with pytest.raises(OSError, match="No space left on device") as caught:
            log.record(1, {"l1": 0.5})
    assert caught.value.filename == str(file)
    assert not died
