import importlib.util
import re

import pytest

from benchmarks.classification import store
from benchmarks.report import __main__ as report
from benchmarks.report import claims, forest
from benchmarks.report.rows import group_runs

needs_matplotlib = pytest.mark.skipif(not importlib.util.find_spec("matplotlib"), reason="matplotlib is not there")


@pytest.fixture
def words(runs, tmp_path, monkeypatch):
    """Options for made-up runs, and a copy of the documents to fill in."""
    for run in runs:
        store.append(tmp_path / "runs.jsonl", run)
    for path in {path for pattern in report.DOCUMENTS for path in report.ROOT.glob(pattern)}:
        copy = tmp_path / "root" / path.relative_to(report.ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    monkeypatch.setattr(report, "ROOT", tmp_path / "root")
    return ["--results", str(tmp_path / "runs.jsonl"), "--output", str(tmp_path / "reports")]


@needs_matplotlib
def test_write_then_check(words, tmp_path, capsys):
    assert report.main([*words, "--check"]) == 1
    said = capsys.readouterr().out
    assert said.count("does not match the stored results; run python -m benchmarks.report to update it") == 7, (
        "six reports and the front page"
    )
    assert "does not show the stored figures" in said
    assert report.main(words) == 0
    assert report.main([*words, "--check"]) == 0
    made = {path.name: path.read_bytes() for path in (tmp_path / "reports").iterdir()}
    assert len(made) == 7
    assert report.main(words) == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "reports").iterdir()} == made


@needs_matplotlib
def test_a_number_that_is_not_the_stored_one_fails_the_check(words, tmp_path, capsys):
    report.main(words)
    path = tmp_path / "reports" / "classification.md"
    text = path.read_text()
    digits = [found.start() for found in re.finditer(r"\d", text)]
    for i in digits[:: len(digits) // 5]:
        path.write_text(text[:i] + str((int(text[i]) + 1) % 10) + text[i + 1 :])
        assert report.main([*words, "--check"]) == 1
    path.write_text(text)
    assert report.main([*words, "--check"]) == 0


@needs_matplotlib
def test_a_new_line_is_noticed_in_the_figure(words, runs, tmp_path, capsys):
    report.main(words)
    store.append(tmp_path / "runs.jsonl", runs[0] | {"arm": "cutmix", "settings": runs[0]["settings"] | {"alpha": 1.0}})
    capsys.readouterr()
    assert report.main([*words, "--check"]) == 1
    assert ".png does not show the stored figures" in capsys.readouterr().out


@needs_matplotlib
def test_a_picture_knows_what_it_shows(runs, tmp_path):
    from PIL import Image

    from benchmarks.report.classification import forest_points

    (group,) = group_runs(runs)
    points = forest_points(group)
    forest.draw(points, "Title", tmp_path / "forest.png")
    assert forest.read_description(tmp_path / "forest.png") == forest.describe(points, "Title")
    assert forest.read_description(tmp_path / "none.png") is None
    with Image.open(tmp_path / "forest.png") as image:
        assert min(image.size) > 100
        assert len(image.convert("L").getcolors()) > 10


def test_the_repository_s_reports_and_documents_are_what_is_stored(capsys):
    assert report.main(["--check"]) == 0, capsys.readouterr().out


def test_every_document_makes_claims_that_it_would_miss():
    for name, texts in claims.collect_claims().items():
        document = (claims.ROOT / name).read_text()
        assert texts
        for text in texts:
            assert not claims.check_claims(document, [text])
            digits = [found.start() for found in re.finditer(r"\d", text)]
            for i in digits[:: max(len(digits) // 3, 1)]:
                changed = text[:i] + str((int(text[i]) + 1) % 10) + text[i + 1 :]
                assert claims.check_claims(document, [changed]) == [changed]


def test_a_claim_may_be_broken_into_lines():
    assert not claims.check_claims("so that\n564 of its   test images", ["564 of its test images"])
    assert claims.check_claims("565 of its test images", ["564 of its test images"])


def test_a_block_is_named_with_its_document(monkeypatch, tmp_path, capsys):
    (tmp_path / "README.md").write_text("<!-- report: pie -->\n<!-- end of report -->\n")
    monkeypatch.setattr(report, "ROOT", tmp_path)
    assert report.main(["--check"]) == 2
    assert "README.md: unknown block 'pie'; known: summary, agreement, ways" in capsys.readouterr().err
    (tmp_path / "README.md").write_text("a\n<!-- report: summary -->\nold\n<!-- end of report -->\nb\n")
    assert report.make_blocks([], write=False) == [
        f"the generated block of {tmp_path / 'README.md'} does not match the stored results; {report.MAKE}"
    ]
    assert report.make_blocks([], write=True) == []
    text = (tmp_path / "README.md").read_text()
    assert text == "a\n<!-- report: summary -->\nNot measured yet.\n<!-- end of report -->\nb\n"


def test_an_unknown_group_of_short_trainings_is_an_error():
    with pytest.raises(ValueError, match=r"expected one group of short trainings with .*cats.*, but there are 0"):
        claims.find_short(data="cats")
