"""Sphinx: sphinx-build -W -q docs build/docs. Nothing is fetched, neither while building nor while reading."""

import argparse
import os
from typing import Any

from sphinx.ext.napoleon import Config, GoogleDocstring

import semantic_aug
from semantic_aug.cli import main as cli

project, author = "semantic-aug", "the semantic-aug developers"
copyright = f"{author}, Apache-2.0"
version = release = semantic_aug.__version__

os.environ["COLUMNS"] = "100"  # of help texts, whatever the terminal
extensions = ["sphinx.ext.autodoc", "myst_parser"]
html_theme = "furo"
html_title = f"{project} {version}"
html_copy_source = False
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True


def help_of_verbs() -> str:
    """What ``semantic-aug VERB --help`` prints, for every verb."""
    (verbs,) = (action for action in cli.build_parser()._actions if isinstance(action, argparse._SubParsersAction))
    return "\n".join(f"## {name}\n\n```text\n{verb.format_help()}```\n" for name, verb in verbs.choices.items())


def setup(app: Any) -> None:
    """Fill in what the source knows: help texts, and the sections of docstrings."""

    def fill(app: Any, name: str, source: list[str]) -> None:
        source[0] = source[0].replace("<!-- help of every verb -->", help_of_verbs())

    def sections(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
        # The extension napoleon does this too, but takes what stands before a colon in a field's docstring for a type.
        if what not in ("attribute", "property"):
            config = Config(napoleon_use_ivar=True)
            lines[:] = GoogleDocstring(lines, config, app, what, name, obj, options).lines()

    app.connect("source-read", fill)
    app.connect("autodoc-process-docstring", sections)
