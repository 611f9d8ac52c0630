"""The command line with its verbs and exit codes. A verb's module does not load torch before the verb is run."""

import argparse
import errno
import io
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from difflib import get_close_matches
from types import ModuleType

from semantic_aug import __version__
from semantic_aug._text import printable
from semantic_aug.cli import (
    app,
    completion,
    demo,
    encode,
    evaluate,
    expand,
    fit,
    inspect,
    preview,
    push,
    train,
)
from semantic_aug.cli.options import options_of
from semantic_aug.cli.paths import without_folders

# A verb is a module with SUMMARY and EXAMPLE for the help, add_options(add), and run(options).
VERBS: dict[str, ModuleType] = {
    "demo": demo,
    "train": train,
    "fit": fit,
    "encode": encode,
    "expand": expand,
    "evaluate": evaluate,
    "preview": preview,
    "app": app,
    "inspect": inspect,
    "push": push,
}
OK, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130
TRAINING = ("accelerate", "lpips", "tensorboard")  # of the extra "train"
REFUSALS = (ValueError, TypeError, FileNotFoundError, FileExistsError, PermissionError, ModuleNotFoundError)
# What to do after an error of the system.
ADVICE = dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room, and run the same command again")
ADVICE |= dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "change its permissions, or choose another path")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb and return the exit code: 0 success, 1 failure while working, 2 refused before work, 130 Ctrl-C."""
    as_program = arguments is None
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = build_parser()
    check_verb(parser, arguments)
    options = parser.parse_args(arguments)
    if not sys.stderr.isatty():  # progress bars of downloads and uploads are only for terminals
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    for stream in (sys.stdout, sys.stderr):  # a path need not be UTF-8
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    options.command = printable(" ".join(["semantic-aug", *map(without_folders, arguments)]))
    if as_program:
        warnings.formatwarning = lambda message, *_, **__: f"warning: {printable(str(message))}\n"
    try:
        VERBS[options.verb].run(options)
        leave_processes()
        sys.stdout.flush()  # a full disk is noticed here, rather than by Python at its end
        return OK
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:  # the reader, such as head, has closed the pipe
        discard_output()
        return OK
    except Exception as error:
        if options.traceback:
            traceback.print_exc()
        message = printable(" ".join(describe(error).split())) or type(error).__name__
        if isinstance(error, ModuleNotFoundError) and error.name in TRAINING:
            message += '; this verb needs pip install "semantic-aug[train]"'
        print(f"semantic-aug {options.verb}: {message}", file=sys.stderr)
        code = REFUSED if isinstance(error, REFUSALS) else FAILED
        try:
            sys.stdout.flush()
        except OSError:  # otherwise Python would try again at its end, and print a traceback
            discard_output()
    if as_program:
        end_if_stuck(code)
    return code


def build_parser() -> argparse.ArgumentParser:
    """Build the parser with the options of every verb."""
    parser = argparse.ArgumentParser(
        prog="semantic-aug",
        description="Semantic data augmentation for images.",
        epilog="semantic-aug VERB --help describes a verb. A good start is: semantic-aug demo",
    )
    parser.add_argument("--version", action="version", version=f"semantic-aug {__version__}")
    completion.add_option(parser)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, verb in VERBS.items():
        example = f"example: semantic-aug {verb.EXAMPLE}"
        own = verbs.add_parser(name, help=verb.SUMMARY, description=verb.SUMMARY, epilog=example)
        own.add_argument("--traceback", action="store_true", help="show where an error came from")
        verb.add_options(options_of(own))
    return parser


def check_verb(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> None:
    """Exit with a suggestion if the first word is not a verb."""
    if arguments and not arguments[0].startswith("-") and arguments[0] not in VERBS:
        close = get_close_matches(arguments[0], VERBS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(VERBS)}"
        parser.error(f"unknown verb {arguments[0]!r}; {hint}")


def describe(error: Exception) -> str:
    """The text of an error. For one of the system, it is the path, what happened and what to do."""
    if not isinstance(error, OSError) or error.errno is None:
        return str(error)
    text = error.strerror or "" if error.filename is None else f"{os.fsdecode(error.filename)}: {error.strerror}"
    return f"{text}; {ADVICE[error.errno]}" if error.errno in ADVICE else text


def discard_output() -> None:
    """Send what is still to be written to standard output nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def end_if_stuck(code: int) -> None:
    """End at once if a request to the Hub never ended, because Python would wait for it."""
    hub = sys.modules.get("semantic_aug.model.hub")
    if hub is not None and hub.stuck():
        sys.stdout.flush()
        os._exit(code)


def leave_processes() -> None:
    """Leave the other processes, if the verb has joined any."""
    from semantic_aug._distributed import leave

    leave()
