import pytest

from benchmarks.report.markdown import fill_block, make_table

BLOCKS = {"summary": lambda: "new\n"}
DOCUMENT = "before\n<!-- report: summary -->\nold\n<!-- end of report -->\nafter\n"


def test_a_table():
    assert make_table(["a", "b"], [["1", "2"], ["3", "4"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |"


def test_a_block_is_made_anew_and_nothing_else():
    filled = fill_block(DOCUMENT, BLOCKS)
    assert filled == DOCUMENT.replace("old", "new")
    assert fill_block(filled, BLOCKS) == filled
    assert fill_block("no block\n", BLOCKS) == "no block\n"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (DOCUMENT * 2, "at most one generated block, but this one has 2"),
        (DOCUMENT.replace("summary", "pie"), "unknown block 'pie'; known: summary"),
        (DOCUMENT.replace("<!-- end of report -->", ""), "needs an '<!-- end of report -->'"),
        ("<!-- end of report -->", "needs an '<!-- end of report -->'"),
        (
            DOCUMENT.replace("<!-- report: summary -->\n", "in a sentence <!-- report: summary --> "),
            "must be on a separate line",
        ),
    ],
)
def test_comments_that_are_wrong(document, message):
    with pytest.raises(ValueError, match=message):
        fill_block(document, BLOCKS)
