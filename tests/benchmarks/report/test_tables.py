import importlib.util
import json
import re

import pytest

from benchmarks.classification import store
from benchmarks.report import __main__ as tables
from benchmarks.report import file_tables


@pytest.fixture
def stored(runs, tmp_path):
    for run in runs:
        store.append(tmp_path / "runs.jsonl", run)
    return ["--results", str(tmp_path / "runs.jsonl")]


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
    monkeypatch.setattr(file_tables, "ROOT", tmp_path)
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
    monkeypatch.setattr(file_tables, "ROOT", tmp_path)
    path = tmp_path / "README.md"
    text = """<!-- runs: expanded file=e.jsonl -->
<!-- runs end -->
<!-- runs: speed file=t.jsonl kind=augmentation -->
<!-- runs end -->
<!-- runs: speed file=t.jsonl kind=start "device=NVIDIA H200" -->
<!-- runs end -->
"""
    path.write_text(text)
    assert tables.main([*stored, "--write", str(path)]) == 0
    assert path.read_text().count("not measured yet") == 3
    runs = [
        {
            "data": "faces",
            "test": "test",
            "classifier": "resnet34",
            "arm": arm,
            "seed": seed,
            "steps": 9,
            "batch": 4,
            "learning_rate": 0.1,
            "size": 32,
            "expand": expand and {"strength": 0.35, "target": expand},
            "accuracy": 0.5,
            "balanced_accuracy": base + seed / 100,
            "device": "cpu",
            "versions": {"torch": "2"},
        }
        for seed in (0, 1)
        for arm, base, expand in (
            ("unbalanced", 0.4, None),
            ("expanded", 0.45, {"balance": True, "times": None}),
            ("expanded-oversampled", 0.5, {"balance": False, "times": 2}),
        )
    ]
    (tmp_path / "e.jsonl").write_text("".join(json.dumps(run) + "\n" for run in runs))
    common = {"device": "cpu", "threads": 2, "load": 0.1, "quick": False, "versions": {"torch": "2"}}
    lines = [
        {"kind": "augmentation", "name": "none", "images_per_s": 9.5} | common,
        {"kind": "augmentation", "name": "ours", "images_per_s": 3.5, "ratio": 2.5} | common,
        {"kind": "augmentation", "name": "none", "images_per_s": 8.5} | common,
        {"kind": "augmentation", "name": "none", "images_per_s": 1.5} | common | {"device": "a GPU"},
        {"kind": "augmentation", "name": "none", "images_per_s": 2.5} | common | {"quick": True},
        {"kind": "start", "name": "import", "seconds": 7.5} | common,
        {"kind": "start", "name": "import", "seconds": 7.0} | common | {"device": "NVIDIA H200"},
        {"kind": "start", "name": "import ratio", "ratio": 1.5} | common | {"device": "NVIDIA H200"},
        {"kind": "start", "name": "import ratio", "ratio": 1.25} | common | {"device": "NVIDIA H200"},
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
        "| name | seconds | ratio |\n| --- | --- | --- |\n| import | 7.0 |  |\n| import ratio |  | 1.25 |\n\nNVIDIA"
        in text
    )
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
