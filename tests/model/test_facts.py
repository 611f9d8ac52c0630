from dataclasses import replace

from semantic_aug.model.facts import facts, thousands
from tests.conftest import build_artifact


def test_many_classes_are_listed_in_part():
    names = [f"class {number}" for number in range(20)]
    artifact = build_artifact(classes=names)
    (_, number, listed), *others = facts(artifact)
    assert number == "20"
    assert listed.count(",") == 12
    assert listed.endswith(", ...")
    assert [term for term, _, _ in others] == ["Training images", "Image", "Recommended"]


def test_what_was_measured_is_a_fact():
    artifact = replace(build_artifact(), reconstruction={"lpips_mean": 0.5, "lpips_std": 0.25, "images": 7})
    assert facts(artifact)[-1] == ("Reconstruction error, LPIPS", "0.5000 ± 0.2500", "over 7 held-out images")


def test_thousands_are_separated():
    assert [thousands(number) for number in (0, 999, 1000, 28709000)] == [
        "0",
        "999",
        "1\u202f000",
        "28\u202f709\u202f000",
    ]
