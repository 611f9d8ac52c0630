"""Code blocks and commands of a document, and how they are run: as they stand, but at tiny size."""

import re

BLOCK = re.compile(r"^( *)```([^\n]*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)


def blocks(text):
    """The fenced blocks of a document in order: (language, content)."""
    return [(language, content) for _, language, content in BLOCK.findall(text)]


def python(text):
    return [content for language, content in blocks(text) if language == "python"]


def commands(text):
    return [line for language, content in blocks(text) if language == "bash" for line in lines(content)]


def lines(content):
    """The lines of a block. A backslash at the end of one joins it to the next."""
    return re.sub(r"\\\n *", "", content).splitlines()


def tiny(verb):
    """The words of a command behind ``semantic-aug``, and what makes it short."""
    if verb[0] == "train":
        verb = [*verb, "--images", "64", "--precision", "fp32"]  # accelerate allows one precision a process
        return verb + (["--preset", "tiny"] if "--init" not in verb else [])
    return [*verb, "--compared", "8"] if verb[0] == "evaluate" else verb
