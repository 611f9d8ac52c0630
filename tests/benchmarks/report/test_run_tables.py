import json

from benchmarks.report import run_tables


def test_the_table(runs):
    text = run_tables.table(runs, {})
    assert "| balanced | 3 | 62.00 ± 1.00 | 64.00 ± 1.00 | 62.00 ± 1.00 |  |  | +2.00 [+2.00, +2.00] |" in text
    assert "| ours-detail | 3 | 65.00 ± 1.00 |" in text
    assert "faces, test, resnet34, base flip-crop, 40 epochs; cpu, torch 2.11." in text
    assert "| ours-detail | 3 | 65.0 | 35.0 |" in run_tables.recall(runs, {})
    assert run_tables.overfit(runs, {}) == "\nnot measured yet\n"
    some = [run | {"fitted": [1.0, 0.3]} if run["arm"] == "ours-detail" else run for run in runs]
    assert run_tables.overfit(some, {}).splitlines()[-1] == "| ours-detail | 3 | +35.0 | -5.0 |"
    assert run_tables.shortcut(runs, {}) == "\nnot measured yet\n"
    some = [run | {"alarms": [0.01, 0.2]} if run["arm"] == "ours-detail" else run for run in runs]
    assert run_tables.shortcut(some, {}).splitlines()[-1] == "| ours-detail | 3 | 1.0 | 20.0 |"
    first, second = run_tables.gains(runs, {}).splitlines()[-2:]
    assert first == "| ours-detail | 3 | +3.00 [+3.00, +3.00] | +3.10 [+2.85, +3.35] |"
    assert second.startswith("| none | 3 | -2.00 [-2.00, -2.00] | -2.")
    assert "| the paper, RAF-DB, ResNet-34 | ours-decode | 74.43 | 67.37 | +1.21 | +3.25 |" in run_tables.paper(
        runs, {}
    )
    assert "| here, faces, resnet34 | ours-detail | 65.00 | 67.10 | +3.00 [+3.00, +3.00] |" in run_tables.paper(
        runs, {}
    )


def test_runs_that_were_trained_otherwise_are_not_compared(runs):
    made = [json.loads(json.dumps(run)) for run in runs]
    slow = [json.loads(json.dumps(run)) for run in made if run["arm"] == "ours-detail"]
    for run in slow:
        run["settings"]["learning_rate"] = 0.05
    made = [run for run in made if run["arm"] != "ours-detail"] + slow
    (line,) = [line for line in run_tables.table(made, {}).splitlines() if "ours-detail" in line]
    assert line.endswith("|  |  |  |  |"), "nothing to compare to"
    alike = [run | {"settings": run["settings"] | {"learning_rate": 0.05}} for run in runs if run["arm"] == "balanced"]
    (line,) = [line for line in run_tables.table(made + alike, {}).splitlines() if "ours-detail" in line]
    assert "[" in line
    assert run_tables.differences(made + alike, "balanced", "mAP")
