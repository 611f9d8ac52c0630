import dataclasses

from benchmarks.report.screens import changed, make_report
from semantic_aug.model.networks import PRESETS


def line(network, note="", **settings):
    return {"network": network.to_dict(), "training": {"settings": settings}, "note": note}


def test_only_what_differs_from_the_defaults_is_named():
    plain, conditional = PRESETS["tiny"], dataclasses.replace(PRESETS["tiny"], num_classes=3)
    assert changed(line(plain, images=5, kl_weight=5e-5, flip=True, unknown=1)) == ""
    assert changed(line(plain, kl_weight=3e-4, sampling="balanced")) == "kl_weight=0.0003, sampling=balanced"
    assert changed(line(conditional, note="a small one")) == "conditional, a small one"


def test_every_measured_checkpoint_has_a_row_and_a_table():
    report = make_report()
    for name in ("cut-a", "cut-b"):
        assert f"\n| {name} | 256 | 7269 |" in report
        assert f"### {name}" in report
