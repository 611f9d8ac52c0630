import importlib.util
import json
import math
import re

import pytest
import store
import tables

ARMS = {"none": 0.60, "balanced": 0.62, "ours-detail": 0.65}


def make(arm, seed, mean, **changed):
    figure = mean + [0.01, -0.01, 0.0, 0.02, -0.02][seed]
    run = {
        "data": "faces", "imbalance": None, "split": "test", "classifier": "resnet34", "base": "flip-crop", "arm": arm,
        "seed": seed, "epochs": 40, "dedup": False, "stage": "report", "settings": {"batch": 128}, "device": "cpu",
        "accuracy": figure, "mAP": figure + 0.02 + 0.001 * seed * (arm == "ours-detail"), "balanced_accuracy": figure,
        "recall": [figure, 1 - figure], "classes": ["glad", "sad"], "versions": {"torch": "2.11"},
        "images_per_s": 9.0, "images": 10,
    }  # fmt: skip
    return run | changed


@pytest.fixture
def runs():
    return [make(arm, seed, mean) for seed in range(3) for arm, mean in ARMS.items()]


@pytest.fixture
def stored(runs, tmp_path):
    for run in runs:
        store.append(tmp_path / "runs.jsonl", run)
    return ["--results", str(tmp_path / "runs.jsonl")]


def test_the_quantiles_are_student_s():
    stats = pytest.importorskip("scipy.stats")
    assert pytest.approx([stats.t.ppf(0.975, n) for n in range(1, 31)], abs=6e-4) == tables.T95


def test_a_paired_difference_written_out(runs):
    made = {row.arm: row for row in tables.rows(runs)}
    found = tables.paired(made["ours-detail"], made["balanced"], "mAP")
    values = [3.0, 3.1, 3.2]
    deviation = math.sqrt(sum((value - 3.1) ** 2 for value in values) / 2)
    assert found.mean == pytest.approx(3.1)
    assert found.half == pytest.approx(4.303 * deviation / math.sqrt(3))
    assert str(found) == "+3.10 [+2.85, +3.35]"


def test_only_seeds_that_both_have_are_paired(runs):
    made = tables.rows([*runs, make("mixup", 2, 0.5), make("isda", 4, 0.5)])
    row = {row.arm: row for row in made}
    assert str(tables.paired(row["mixup"], row["balanced"], "accuracy")) == "-12.00"
    assert tables.paired(row["isda"], row["balanced"], "accuracy") is None


def test_the_table(runs):
    text = tables.table(runs, {})
    assert "| balanced | 3 | 62.00 ± 1.00 | 64.00 ± 1.00 | 62.00 ± 1.00 |  |  | +2.00 [+2.00, +2.00] |" in text
    assert "| ours-detail | 3 | 65.00 ± 1.00 |" in text
    assert "faces, test, resnet34, base flip-crop, 40 epochs; cpu, torch 2.11." in text
    assert "| ours-detail | 3 | 65.0 | 35.0 |" in tables.recall(runs, {})
    assert tables.overfit(runs, {}) == "\nnot measured yet\n"
    some = [run | {"fitted": [1.0, 0.3]} if run["arm"] == "ours-detail" else run for run in runs]
    assert tables.overfit(some, {}).splitlines()[-1] == "| ours-detail | 3 | +35.0 | -5.0 |"
    assert tables.shortcut(runs, {}) == "\nnot measured yet\n"
    some = [run | {"alarms": [0.01, 0.2]} if run["arm"] == "ours-detail" else run for run in runs]
    assert tables.shortcut(some, {}).splitlines()[-1] == "| ours-detail | 3 | 1.0 | 20.0 |"
    first, second = tables.gains(runs, {}).splitlines()[-2:]
    assert first == "| ours-detail | 3 | +3.00 [+3.00, +3.00] | +3.10 [+2.85, +3.35] |"
    assert second.startswith("| none | 3 | -2.00 [-2.00, -2.00] | -2.")
    assert "| the paper, RAF-DB, ResNet-34 | ours-decode | 74.43 | 67.37 | +1.21 | +3.25 |" in tables.paper(runs, {})
    assert "| here, faces, resnet34 | ours-detail | 65.00 | 67.10 | +3.00 [+3.00, +3.00] |" in tables.paper(runs, {})


def test_settings_that_differ_are_named_and_nothing_else_may_differ(runs):
    weaker = make("ours-detail", 0, 0.6, settings={"batch": 128, "strength": 0.1})
    labels = [row.label for row in tables.rows([*runs, weaker])]
    assert labels == ["balanced", "none", "ours-detail (strength 0.1)", "ours-detail (strength null)"]
    both = [make("ours-detail", 0, 0.6, settings={"checkpoint": name, "fingerprint": name * 2}) for name in "ab"]
    assert [row.label for row in tables.rows(both)] == ["ours-detail (checkpoint a)", "ours-detail (checkpoint b)"]
    with pytest.raises(ValueError, match=r"the runs differ in epochs \(10, 40\); add epochs=VALUE"):
        tables.rows([*runs, make("none", 0, 0.6, epochs=10)])
    with pytest.raises(ValueError, match=r"the runs differ in images \(100, 90\)"):
        tables.rows([make("none", seed, 0.6, images=images) for seed, images in enumerate((90, 100))])


def test_runs_are_chosen_by_fields_and_settings(runs):
    screen = make("none", 0, 0.6, stage="screen")
    assert tables.select([*runs, screen], {}) == runs
    assert tables.select([*runs, screen], {"stage": "screen"}) == [screen]
    assert len(tables.select(runs, {"seed": "1", "batch": "128", "imbalance": "null", "dedup": "false"})) == 3
    assert tables.select(runs, {"strength": "0.5"}) == []
    with_a_setting = [run for run in runs if run["arm"] != "ours-detail"] + [
        make("ours-detail", 0, 0.6, settings={"batch": 128, "strength": strength}) for strength in (0.1, 0.5)
    ]
    chosen = tables.select(with_a_setting, {"strength": "0.5"})
    assert chosen == [*with_a_setting[:-2], with_a_setting[-1]]  # the others have no strength that could differ


DOCUMENT = """# Title
<!-- runs: table classifier=resnet34 --><!-- runs end -->
We gain <!-- runs: difference arm=ours-detail figure=mAP -->?<!-- runs end --> points, and reach
<!-- runs: mean arm=ours-detail figure=accuracy -->?<!-- runs end --> %.
<!-- runs: recall classifier=dan -->
old
<!-- runs end -->
"""


def test_write_then_check(stored, tmp_path, capsys):
    path = tmp_path / "README.md"
    path.write_text(DOCUMENT)
    assert tables.main([*stored, "--check", str(path)]) == 1
    assert capsys.readouterr().out.count("is not what the stored runs give") == 4
    assert tables.main([*stored, "--write", str(path)]) == 0
    text = path.read_text()
    assert "| ours-detail | 3 |" in text
    assert (
        "We gain <!-- runs: difference arm=ours-detail figure=mAP -->+3.10 [+2.85, +3.35]<!-- runs end --> points"
        in text
    )
    assert "figure=accuracy -->65.00<!-- runs end --> %." in text
    assert "classifier=dan -->\nnot measured yet\n<!-- runs end -->" in text
    assert re.sub(r" -->.*?<!-- runs end", "", text, flags=re.DOTALL) == re.sub(
        r" -->.*?<!-- runs end", "", DOCUMENT, flags=re.DOTALL
    )
    assert tables.main([*stored, "--check", str(path)]) == 0
    assert tables.main([*stored, "--write", str(path)]) == 0
    assert path.read_text() == text


def test_any_number_that_is_not_the_stored_one_fails_the_check(stored, runs, tmp_path):
    path = tmp_path / "README.md"
    path.write_text(DOCUMENT)
    tables.main([*stored, "--write", str(path)])
    text = path.read_text()
    inside = [found.span(3) for found in tables.BLOCK.finditer(text)]
    digits = [i for begin, end in inside for i in range(begin, end) if text[i].isdigit()]
    assert len(digits) > 100
    for i in digits:
        changed = text[:i] + str((int(text[i]) + 1) % 10) + text[i + 1 :]
        assert tables.stale(changed, runs), text[i - 10 : i + 10]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- runs: pie --><!-- runs end -->", "unknown kind 'pie' in the marker 'runs: pie'; known: table, recall"),
        ("<!-- runs: mean --><!-- runs end -->", "needs arm=NAME"),
        ("<!-- runs: mean arm=none figure=F1 --><!-- runs end -->", "unknown figure 'F1'"),
        ("<!-- runs: table -->", "has no 'runs end' after it"),
        ("<!-- runs: table --> <!-- runs: recall --><!-- runs end -->", "has no 'runs end' after it"),
    ],
)
def test_bad_markers_are_one_line(stored, tmp_path, capsys, text, message):
    (tmp_path / "README.md").write_text(text)
    assert tables.main([*stored, "--check", str(tmp_path / "README.md")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert (tmp_path / "README.md").read_text() == text


MEASURED = """Seen <!-- runs: value file=run.json key=images format=, -->?<!-- runs end --> images, L1
<!-- runs: value file=run.json key=errors/l1 format=.2f -->?<!-- runs end -->.
<!-- runs: quality files=a.json,b.json -->
<!-- runs end -->
<!-- runs: directions file=directions.json -->
<!-- runs end -->
"""


def test_other_measurements_are_checked_too(stored, tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    (tmp_path / "run.json").write_text('{"images": 900032, "errors": {"l1": 0.137}}')
    for name, l1 in (("a", 0.25), ("b", 0.125)):
        (tmp_path / f"{name}.json").write_text(json.dumps({"reconstruction": {"l1_mean": l1}}))
    row = {"brightness": 0.5, "asymmetry": 0.25, "class logit": 0.75, "agreement": 0.9, "variance": 0.04}
    (tmp_path / "directions.json").write_text(json.dumps({"mean": {"direction 1": row}}))
    path = tmp_path / "README.md"
    path.write_text(MEASURED)
    assert tables.main([*stored, "--write", str(path)]) == 0
    text = path.read_text()
    assert "format=, -->900 032<!-- runs end --> images" in text
    assert "-->0.14<!-- runs end -->." in text
    assert "| reconstruction: L1 on [-1, 1] | 0.2500 | 0.1250 |" in text
    assert "| direction 1 | 4.0% | 0.50 | 0.25 | missing | 0.75 | 90.0% |" in text
    assert tables.main([*stored, "--check", str(path)]) == 0
    (tmp_path / "run.json").write_text('{"images": 900032, "errors": {"l1": 0.146}}')
    assert tables.main([*stored, "--check", str(path)]) == 1


def test_expanded_folders_and_speed(stored, tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    path = tmp_path / "README.md"
    text = """<!-- runs: expanded file=e.jsonl -->
<!-- runs end -->
<!-- runs: speed file=t.jsonl kind=augmentation -->
<!-- runs end -->
"""
    path.write_text(text)
    assert tables.main([*stored, "--write", str(path)]) == 0
    assert path.read_text().count("not measured yet") == 2
    runs = [
        {"data": "faces", "test": "test", "classifier": "resnet34", "arm": arm, "seed": seed, "steps": 9, "batch": 4,
         "learning_rate": 0.1, "size": 32, "expand": expand and {"strength": 0.35, "target": expand},
         "accuracy": 0.5, "balanced_accuracy": base + seed / 100, "device": "cpu", "versions": {"torch": "2"}}
        for seed in (0, 1) for arm, base, expand in (
            ("unbalanced", 0.4, None), ("expanded", 0.45, {"balance": True, "times": None}),
            ("expanded-oversampled", 0.5, {"balance": False, "times": 2}),
        )
    ]  # fmt: skip
    (tmp_path / "e.jsonl").write_text("".join(json.dumps(run) + "\n" for run in runs))
    common = {"device": "cpu", "threads": 2, "load": 0.1, "quick": False, "versions": {"torch": "2"}}
    lines = [
        {"kind": "augmentation", "name": "none", "images_per_s": 9.5} | common,
        {"kind": "augmentation", "name": "ours", "images_per_s": 3.5, "ratio": 2.5} | common,
        {"kind": "augmentation", "name": "none", "images_per_s": 8.5} | common,
        {"kind": "augmentation", "name": "none", "images_per_s": 1.5} | common | {"device": "a GPU"},
        {"kind": "augmentation", "name": "none", "images_per_s": 2.5} | common | {"quick": True},
        {"kind": "start", "name": "import", "seconds": 7.5} | common,
    ]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert tables.main([*stored, "--write", str(path)]) == 0
    text = path.read_text()
    assert "| unbalanced | 2 | 50.00 ± 0.00 | 40.50 ± 0.71 |  |" in text
    marker = "expanded-difference file=e.jsonl arm=expanded to=unbalanced"
    assert tables.block(marker, []) == "+5.00 [+5.00, +5.00]"
    assert tables.block(marker.replace("expanded to", "oversampled to"), []) == "not measured yet"
    assert "| expanded (--balance) | 2 | 50.00 ± 0.00 | 45.50 ± 0.71 | +5.00 [+5.00, +5.00] |" in text
    assert "| expanded-oversampled (--times 2) | 2 | 50.00 ± 0.00 | 50.50 ± 0.71 |" in text
    assert (
        "| name | images per s | ratio |\n| --- | --- | --- |\n| ours | 3.5 | 2.5 |\n| none | 8.5 |  |\n\ncpu" in text
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("value file=no.json key=a", "there is no no.json"),
        ("value file=checkpoints/fer2013-48/config.json key=reconstruction/l3", "there are images, l1_mean"),
        ("value key=a", "'runs: value key=a' needs file="),
        ("quality", "'runs: quality' needs files="),
    ],
)
def test_bad_markers_of_other_measurements(stored, tmp_path, capsys, text, message):
    (tmp_path / "README.md").write_text(f"<!-- runs: {text} --><!-- runs end -->")
    assert tables.main([*stored, "--check", str(tmp_path / "README.md")]) == 2
    assert message in capsys.readouterr().err


def test_our_own_documents_say_what_is_stored(capsys):
    assert tables.main(["--check"]) == 0, capsys.readouterr().out


def test_printing(stored, capsys):
    assert tables.main([*stored, "classifier=resnet34"]) == 0
    assert "| none | 3 |" in capsys.readouterr().out
    assert tables.main([*stored, "classifier=dan"]) == 2
    assert "no stored run is of classifier=dan" in capsys.readouterr().err


def test_runs_that_were_trained_otherwise_are_not_compared(runs):
    made = [json.loads(json.dumps(run)) for run in runs]
    slow = [json.loads(json.dumps(run)) for run in made if run["arm"] == "ours-detail"]
    for run in slow:
        run["settings"]["learning_rate"] = 0.05
    made = [run for run in made if run["arm"] != "ours-detail"] + slow
    (line,) = [line for line in tables.table(made, {}).splitlines() if "ours-detail" in line]
    assert line.endswith("|  |  |  |  |"), "nothing to compare to"
    alike = [run | {"settings": run["settings"] | {"learning_rate": 0.05}} for run in runs if run["arm"] == "balanced"]
    (line,) = [line for line in tables.table(made + alike, {}).splitlines() if "ours-detail" in line]
    assert "[" in line
    assert tables.differences(made + alike, "balanced", "mAP")


def test_expanded_folders_of_several_kinds_are_refused(tmp_path):
    run = dict.fromkeys(tables.EXPANDED, 1) | {"arm": "expanded", "seed": 0, "expand": None}
    strengths = [{"expand": {"strength": strength, "target": {"balance": True}}} for strength in (0.1, 0.2)]
    for name, others in (("steps", [{"steps": 9}, {"steps": 10}]), ("expand", strengths)):
        (tmp_path / "e.jsonl").write_text("".join(json.dumps(run | other) + "\n" for other in others))
        with pytest.raises(ValueError, match=rf"differ in {name} \("):
            tables.expanded({"file": str(tmp_path / "e.jsonl")})


def test_forest_plot_as_text(stored, runs, capsys):
    assert tables.main([*stored, "--forest", "--figure", "accuracy"]) == 0
    title, ours, none = capsys.readouterr().out.splitlines()
    assert title == "accuracy minus that of balanced, percentage points, 95 % interval"
    assert ours.startswith("ours-detail ")
    assert ours.endswith("+3.00 [+3.00, +3.00]")
    assert ours.index("|") < ours.index("o", 12)
    assert none.index("o", 12) < none.index("|")
    assert tables.block("forest figure=accuracy", runs) == f"\n```text\n{title}\n{ours}\n{none}\n```\n"
    assert tables.main([*stored, "--forest", "--to", "mixup"]) == 2
    assert "no run of mixup" in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="matplotlib is not installed")
def test_forest_plot_as_a_picture(stored, tmp_path):
    assert tables.main([*stored, "--forest", "--output", str(tmp_path / "forest.png")]) == 0
    assert (tmp_path / "forest.png").read_bytes()[:4] == b"\x89PNG"


def test_without_matplotlib_it_is_text(stored, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    assert tables.main([*stored, "--forest", "--output", str(tmp_path / "forest.png")]) == 0
    assert "ours-detail" in capsys.readouterr().out
    assert not (tmp_path / "forest.png").exists()


def test_what_is_in_the_repository_is_up_to_date():
    assert tables.main(["--check"]) == 0
