"""Every way to augment at its smallest size, and its table."""

import json

from benchmarks.report import speed
from benchmarks.speed import ways

OURS = {
    "per sample",
    "rows of a dictionary, as `with_transform` passes them",
    "`collate_fn`",
    "batch, in the training process",
    "`SemanticLoader`",
    "`SemanticLoader`, cached latents",
    "`SemanticLoader`, cached latents and reconstructions",
    "networks alone",
}
OTHERS = {"no augmentation", "RandAugment, per sample", "offline expansion, read"}


def test_every_way_runs_and_is_a_line_of_the_table(tmp_path, monkeypatch, no_warnings):
    path = tmp_path / "ways.json"
    options = ["--images", "4", "--turns", "1", "--workers", "0", "--no-compile", "--json", str(path)]
    monkeypatch.setattr(ways, "BATCH", 2)
    ways.main(options)
    found = json.loads(path.read_text())
    assert found["ways"].keys() == OURS | OTHERS
    assert found["step_images_per_s"] > 0
    for name, figures in found["ways"].items():
        assert figures.keys() == ({"float32", "bfloat16"} if name in OURS else {"float32"})
        for each in figures.values():
            assert each["images_per_s"] > 0
            assert each["share_of_step"] > 0
    monkeypatch.setattr(speed, "RESULTS", tmp_path)
    block = speed.make_ways()
    assert all(f"| {name} | " in block for name in found["ways"])
    assert block in speed.make_report()


def test_ways_that_are_not_measured_yet(tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "RESULTS", tmp_path)
    assert speed.make_ways() == "Not measured yet.\n"
