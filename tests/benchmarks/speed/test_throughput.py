"""The speed benchmark at its smallest size; its arithmetic on what is known."""

import json
from functools import partial

import pytest
import torch

from benchmarks.speed import throughput


@pytest.mark.slow
def test_every_part_runs_and_writes_its_lines(tmp_path, capsys):
    path = tmp_path / "throughput.jsonl"
    throughput.main(["--quick", "--device", "cpu", "--json", str(path)])
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert {line["kind"] for line in lines} == {"augmentation", "rate", "step", "scaling", "start"}
    assert all(line["quick"] and line["device"] == "cpu" for line in lines)
    found = {line["name"]: line for line in lines if line["kind"] == "augmentation"}
    assert {"none", "torchvision RandAugment", "torchvision MixUp", "plain detail"} <= found.keys()
    for name, line in found.items():
        assert line["images_per_s"] > 0
        assert ("ratio" in line) == name.startswith(("plain", "ours"))
    assert found["plain decode"]["ratio"] == 1
    assert found["plain decode"]["share_of_matrix_rate"] > 0
    assert "ours detail reconstructions bfloat16 eager" in found
    pytest.importorskip("matplotlib")
    assert (tmp_path / "throughput.png").stat().st_size > 10_000


def test_operations_and_memory_are_what_they_must_be():
    a, b = torch.rand(8, 16), torch.rand(16, 4)
    assert throughput.operations(lambda: a @ b) == 2 * 8 * 16 * 4
    convolution = torch.nn.Conv2d(3, 5, 3, padding=1)
    assert throughput.operations(partial(convolution, torch.rand(2, 3, 8, 8))) == 2 * 2 * 5 * 3 * 9 * 64
    assert throughput.peak_megabytes(lambda: torch.ones(4), "cpu") is None
