"""Shell completion by a script that is generated once, so that pressing Tab does not start Python."""

import argparse
from typing import Any

SHELLS = ("bash", "zsh", "tcsh")
# The value of shtab.FILE, written out so that shtab is needed only to generate a script.
PATHS = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}
ARE_PATHS = ("CHECKPOINT", "DATA", "DIR", "FILE", "PNG")


def add_option(parser: argparse.ArgumentParser) -> None:
    """Give ``parser`` the option ``--print-completion SHELL``, which needs the package shtab."""
    parser.add_argument(
        "--print-completion",
        metavar="SHELL",
        choices=SHELLS,
        action=_Print,
        help=f"print a script that completes this command in {', '.join(SHELLS)}",
    )


class _Print(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, _: Any, shell: Any, option: str | None = None) -> None:
        try:
            import shtab
        except ModuleNotFoundError:
            parser.error('--print-completion needs shtab: pip install "semantic-aug[completion]"')
        for verbs in (action for action in parser._actions if isinstance(action, argparse._SubParsersAction)):
            for action in (action for verb in verbs.choices.values() for action in verb._actions):
                if action.metavar in ARE_PATHS:
                    action.complete = PATHS
        print(shtab.complete(parser, shell))
        parser.exit()
