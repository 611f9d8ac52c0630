from benchmarks.report.screens import changed, make_report
from semantic_aug.model.networks import PRESETS


def line(network, note="", **settings):
    return {"network": network.to_dict(), "training": {"settings": settings}, "note": note}


def test_only_what_differs_from_the_defaults_is_named():
    conditional = PRESETS["tiny"].__class__(**PRESETS["tiny"].to_dict() | {"num_classes": 3})
    assert changed(line(conditional, images=5, kl_weight=5e-5, flip=True, unknown=1)) == ""
    assert changed(line(conditional, kl_weight=3e-4, sampling="balanced")) == "kl_weight=0.0003, sampling=balanced"
    assert changed(line(PRESETS["tiny"], note="a small one")) == "unconditional, a small one"


def test_every_measured_checkpoint_has_a_row_and_a_table():
    report = make_report()
    for name in ("cut-a", "cut-b"):
        assert f"\n| {name} | 256 | 7269 |" in report
        assert f"### {name}" in report
