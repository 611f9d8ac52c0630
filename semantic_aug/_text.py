"""Text from outside, such as class names, made safe for where it is shown."""


def printable(text: str) -> str:
    r"""``text`` with an escape for each character that is no letter, sign or space.

    A name with a line break could forge a line of output, and one with control characters could move the cursor of a
    terminal. Bytes of a file name that are not UTF-8 cannot be printed at all.

    >>> printable("a\x1b[2J\nb")
    'a\\x1b[2J\\nb'
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def is_utf8(text: str) -> bool:
    """Whether UTF-8 can hold the text. It cannot hold a byte of a file name that was not UTF-8 itself."""
    return not any("\ud800" <= each <= "\udfff" for each in text)


def shorten(error: BaseException) -> str:
    """The text of an error in one line of at most 200 characters, or its type if it has no text."""
    return printable(f"{' '.join(str(error).split()):.200}") or type(error).__name__
