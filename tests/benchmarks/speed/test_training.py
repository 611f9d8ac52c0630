"""The benchmark of the trainer at its smallest size, and its table."""

import json

import pytest

from benchmarks.report.speed import describe_training
from benchmarks.speed import training


@pytest.mark.usefixtures("precision_of_its_own")
def test_every_loop_is_measured(tmp_path, torch_home):
    path = tmp_path / "training.json"
    options = ["--preset", "tiny", "--images", "8", "--batch", "8", "--repeats", "1", "--device", "cpu"]
    training.main([*options, "--json", str(path)])
    found = json.loads(path.read_text())
    loops = ["plain float32 loop", "trainer, one class, lpips_every=1", "trainer, one class", "trainer, everything on"]
    assert list(found["images_per_s"]) == loops
    assert all(rate > 0 for rates in found["images_per_s"].values() for rate in rates)
    assert found["ratio"][loops[0]] == 1
    assert all(f"| {name} | " in "\n".join(describe_training(found)) for name in loops)
