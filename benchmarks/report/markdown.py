"""Markdown tables, and blocks of generated text between two comments."""

import re
from collections.abc import Callable, Mapping, Sequence

BLOCK = re.compile(r"(<!-- report: ([\w-]+) -->\n)(.*?)(<!-- end of report -->)", re.DOTALL)


def make_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table, without a newline after its last line."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *lines))


def group_digits(number: int) -> str:
    """Format a number with spaces between groups of three digits."""
    return f"{number:,}".replace(",", " ")


def fill_block(document: str, blocks: Mapping[str, Callable[[], str]]) -> str:
    """Return a document with the text of its block generated again.

    Raises ValueError for more than one block, for an unknown block, and for a comment without its counterpart.
    """
    found = BLOCK.findall(document)
    if document.count("<!-- report:") != len(found) or document.count("<!-- end of report -->") != len(found):
        raise ValueError("'<!-- report: NAME -->' must be on a separate line and needs an '<!-- end of report -->'")
    if len(found) > 1:
        raise ValueError(f"a document can have at most one generated block, but this one has {len(found)}")
    if found and found[0][1] not in blocks:
        raise ValueError(f"unknown block {found[0][1]!r}; known: {', '.join(blocks)}")
    return BLOCK.sub(lambda match: match[1] + blocks[match[2]]() + match[4], document)
