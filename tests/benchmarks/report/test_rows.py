import pytest

from benchmarks.report.rows import group_runs, make_rows, read_figure, read_short
from tests.benchmarks.conftest import make_run


def test_rows_by_base_arm_and_settings(runs):
    (group,) = group_runs(runs)
    assert [(row.base, row.label, row.seeds) for row in group.rows] == [
        ("natural", "none", [0, 1, 2]),
        ("natural", "ours+randaugment", [0, 1, 2]),
        ("natural", "randaugment", [0, 1, 2]),
        ("balanced", "none", [0, 1, 2]),
    ]
    assert group.title == "faces, cut to imbalance 100: validation, resnet18-quarter, 60 epochs"
    assert group.rows[0].values("accuracy") == pytest.approx([40, 41, 39])
    assert group.rows[0].values("accuracy", adjusted=True) == pytest.approx([43, 44, 42])
    assert group.rows[0].values("mAP", adjusted=True) == group.rows[0].values("mAP")


@pytest.mark.parametrize(
    "changed",
    [
        {"data": "others"}, {"imbalance": None}, {"dedup": "train"}, {"split": "test"}, {"classifier": "dan"},
        {"epochs": 120}, {"protocol": 2},
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_in_other_groups(runs, changed):
    assert len(group_runs([*runs, make_run("natural", "none", 0, 0.5, **changed)])) == 2


def test_other_common_settings_are_another_group(runs):
    other = make_run("natural", "none", 0, 0.5)
    other["settings"] = other["settings"] | {"learning_rate": 0.2}
    assert len(group_runs([*runs, other])) == 2


def test_settings_that_differ_within_an_arm_are_told():
    def change(seed=0, arm="ours+randaugment", **settings):
        run = make_run("natural", arm, seed, 0.5)
        return run | {"settings": run["settings"] | settings}

    def labels(*runs):
        return sorted(row.label for row in make_rows(runs))

    assert labels(change(), change(1)) == ["ours+randaugment"]
    assert labels(change(), change(magnitude=14)) == ["ours+randaugment", "ours+randaugment (magnitude 14)"]
    assert labels(change() | {"protocol": 0}, change(magnitude=14) | {"protocol": 0}) == [
        "ours+randaugment (magnitude 14)",
        "ours+randaugment (magnitude 9)",
    ]
    assert labels(change(), change(checkpoint="other", fingerprint="4567")) == [
        "ours+randaugment (checkpoint mine)",
        "ours+randaugment (checkpoint other)",
    ]
    assert labels(change(), change(fingerprint="4567")) == [
        "ours+randaugment (fingerprint 0123)",
        "ours+randaugment (fingerprint 4567)",
    ]
    assert labels(change(checkpoint_saw="more labels")) == ["ours+randaugment (checkpoint saw more labels)"]
    assert labels(change(), change(arm="randaugment", magnitude=5)) == ["ours+randaugment", "randaugment"]


def test_the_stored_short_runs_are_groups_of_their_own():
    groups = group_runs(read_short())
    assert sum(len(group.runs) for group in groups) == 179
    assert all(group.fields["protocol"] == 0 for group in groups)
    assert {row.base for group in groups for row in group.rows} == {"natural", "balanced", "sqrt"}
    assert {row.base for group in groups for row in group.rows if row.arm == "none"} == {"natural"}


def test_map_is_of_unadjusted_scores(runs):
    assert read_figure(runs[0], "mAP", True) == runs[0]["mAP"]
