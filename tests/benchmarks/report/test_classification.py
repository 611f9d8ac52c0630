import pytest

from benchmarks.report import classification as report
from benchmarks.report.rows import group_runs
from tests.benchmarks.conftest import make_run


@pytest.fixture
def group(runs):
    return group_runs(runs)[0]


def cells(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_natural_sampling_is_read_twice_and_its_best_arm_without_a_checkpoint_is_the_reference(group):
    readings = report.make_readings(group)
    assert [reading.name for reading in readings] == ["natural", "natural, adjusted", "balanced"]
    assert report.main_reading(group).name == "natural, adjusted"
    assert [reading.best_without().label for reading in readings] == ["randaugment", "randaugment", "none"]


def test_an_arm_of_few_seeds_is_no_reference(runs):
    (group,) = group_runs([*runs, make_run("natural", "cutmix", 0, 0.9)])
    assert report.main_reading(group).best_without().label == "randaugment"


@pytest.mark.parametrize(
    ("arm", "control"),
    [
        ("ours", "none"),
        ("ours+randaugment", "randaugment"),
        ("randaugment/ours+randaugment", "randaugment/randaugment"),
        ("isotropic+mixup", "mixup"),
        ("randaugment", "randaugment"),
    ],
)
def test_the_control_is_the_arm_without_the_checkpoint(arm, control):
    assert report.strip_checkpoint(arm) == control


def test_the_control_has_the_same_settings(runs):
    def change(arm, magnitude):
        run = make_run("natural", arm, 0, 0.45)
        return run | {"settings": run["settings"] | {"magnitude": magnitude}}

    (group,) = group_runs([*runs, change("ours+randaugment", 14), change("randaugment", 14)])
    reading = report.main_reading(group)
    rows = {row.label: row for row in reading.rows}
    assert reading.control(rows["ours+randaugment (magnitude 14)"]) is rows["randaugment (magnitude 14)"]
    assert reading.control(rows["ours+randaugment"]) is rows["randaugment"]


def test_the_table_of_figures(group):
    lines = cells(report.table_figures(group))
    assert [line[:3] for line in lines[:4]] == [
        ["natural", "none", "3"],
        ["natural", "ours+randaugment", "3"],
        ["natural", "randaugment", "3"],
        ["natural, adjusted", "none", "3"],
    ]
    assert lines[0][3:6] == ["40.00 ± 1.00", "40.00 ± 1.00", "42.00 ± 1.00"]
    assert lines[3][3:6] == ["43.00 ± 1.00", "43.00 ± 1.00", "42.00 ± 1.00"]
    assert lines[3][6:] == ["43.0", "43.0", "43.0", "10.0"]


def test_the_table_of_differences(group):
    lines = cells(report.table_differences(group))
    adjusted = {line[1]: line[2:] for line in lines if line[0] == "natural, adjusted"}
    assert adjusted.keys() == {"none", "ours+randaugment"}
    minus, seeds, accuracy, balanced, images, average = adjusted["ours+randaugment"]
    assert (minus, seeds) == ("randaugment", "3")
    assert accuracy == balanced == average == "+3.00 [+3.00, +3.00]"
    low, high = (float(text) for text in images.strip("[]").split(","))
    assert low < 3.0 < high


def test_the_forest_is_in_the_order_of_its_differences(group):
    points = report.forest_points(group)
    shown = [
        (label, {name: (round(difference.mean, 6), level) for name, (difference, level) in panels.items()})
        for label, panels in points
    ]
    assert shown == [
        ("ours+randaugment", {"accuracy": (3, "52.0"), "balanced accuracy": (3, "52.0"), "mAP": (3, "51.0")}),
        ("none", {"accuracy": (-6, "43.0"), "balanced accuracy": (-6, "43.0"), "mAP": (-6, "42.0")}),
    ]
    assert "Minus randaugment (49.0, 49.0, 48.0), in points" in report.forest_title(group)
    assert report.figure_name(group) == "faces-cut-100-validation-resnet18-quarter-60.png"


def test_balanced_data_need_no_adjustment_and_no_balanced_accuracy(runs):
    even = {"counts": [5, 5], "measured_counts": [7, 7]}
    (group,) = group_runs([run | even for run in runs])
    assert [reading.name for reading in report.make_readings(group)] == ["natural", "balanced"]
    assert list(report.forest_points(group)[0][1]) == ["accuracy", "mAP"]
    assert "balanced accuracy | mAP | ECE |" in report.table_figures(group)
    assert "logit adjustment" not in report.forest_title(group)


def test_tau_is_chosen_on_validation(runs):
    test = [run | {"split": "test", "taus": run["taus"] | {"1.0": [0.9, 0.9]}} for run in runs]
    groups = group_runs([*runs, *test])
    lines = cells(report.table_taus(groups[1], groups))
    assert {line[2] for line in lines} == {"1.5"}  # though 1.0 is better on test images
    assert lines[0] == ["none", "3", "1.5", "40.00 ± 1.00", "45.00 ± 1.00"]
    assert report.table_taus(groups[1], groups[1:]) == ""


def test_lengths_are_compared_within_an_arm(runs):
    longer = [make_run("natural", "none", seed, 0.42, epochs=120) for seed in range(3)]
    (line,) = cells(report.table_lengths(group_runs([*runs, *longer])).split("\n\n")[1])
    assert line[1:6] == ["none", "60 to 120", "43.00 ± 1.00", "3", "+2.00 [+2.00, +2.00]"]
    assert report.table_lengths(group_runs(runs)) == report.NOTHING


def test_lengths_are_compared_at_the_same_settings_and_share_of_clean_epochs(runs):
    settings = runs[1]["settings"] | {"magnitude": 9}
    for clean, magnitude, found in ((15, 9, True), (0, 9, False), (15, 14, False)):
        changed = settings | {"clean_epochs": clean, "magnitude": magnitude}
        longer = [make_run("natural", "randaugment", seed, 0.42, epochs=120, settings=changed) for seed in range(3)]
        assert (report.table_lengths(group_runs([*runs, *longer])) != report.NOTHING) == found


def test_the_paper_s_figures_stand_beside_ours(runs):
    ours = [
        make_run(base, arm, 0, level, classifier="resnet34", epochs=40)
        for base, arm, level in (("natural", "none", 0.5), ("balanced", "none", 0.52), ("balanced", "ours", 0.55))
    ]
    lines = cells(report.table_paper(group_runs([*runs, *ours])).split("\n\n")[0])
    assert lines[2][:4] == ["the paper, RAF-DB, ResNet-34", "ours", "74.43", "67.37"]
    assert [line[1:] for line in lines[6:]] == [
        ["natural, none", "50.00", "52.00", "-2.00", "-2.00"],
        ["balanced, none", "52.00", "54.00", "", ""],
        ["balanced, ours", "55.00", "57.00", "+3.00", "+3.00"],
    ]
    assert "resnet34" not in report.make_report(group_runs([*runs, *ours])).split("## The paper")[0]


def test_the_summary_is_of_test_images_where_there_are_any(runs):
    assert report.make_summary([]) == f"{report.NOTHING}\n"
    test = [run | {"split": "test"} for run in runs]
    for chosen, split in ((runs, "validation"), ([*runs, *test], "test")):
        lines = cells(report.make_summary(group_runs(chosen)))
        assert [line[1] for line in lines] == ["none", "randaugment", "ours+randaugment"]
        assert f": {split}, " in lines[0][0]
        assert [line[0] for line in lines[1:]] == ["", ""]
        assert lines[2][2:] == ["3", "52.00 ± 1.00", "52.00 ± 1.00", "51.00 ± 1.00"]


def test_the_summary_is_of_the_length_that_suits_the_best_arm_without_a_checkpoint(runs):
    for level, epochs in ((0.42, 60), (0.5, 120)):
        longer = [make_run("natural", "randaugment", seed, level, epochs=120) for seed in range(3)]
        assert f"{epochs} epochs" in report.make_summary(group_runs([*runs, *longer]))


def test_the_summary_is_of_the_group_with_the_most_seeds(runs):
    longer = make_run("natural", "randaugment", 0, 0.9, epochs=120)
    assert "120 epochs" not in report.make_summary(group_runs([*runs, longer]))


def test_every_figure_of_the_report_comes_from_the_lines(runs):
    text = report.make_report(group_runs(runs))
    for figure in ("accuracy", "balanced_accuracy", "mAP", "ece", "few"):
        changed = [run | {figure: run[figure] + 0.011, "adjusted": run["adjusted"] | {figure: 0.4}} for run in runs]
        assert report.make_report(group_runs(changed)) != text
