"""The command line: options of every verb, and exit codes. A verb's own module is imported when it is asked for."""

import argparse
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from semantic_aug.cli import completion

OK, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 130
DEMO_PICTURE = "semantic-aug-demo.png"
TRAINING = ("accelerate", "lpips", "tensorboard")  # of the extra "train"
REFUSALS = (ValueError, TypeError, FileNotFoundError, FileExistsError, ModuleNotFoundError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; the exit code: 0 success, 1 a failure while working, 2 refused before work, 130 Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(arguments)
    if not sys.stderr.isatty():  # bars of downloads and uploads are for terminals
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    options.command = " ".join(["semantic-aug", *map(_recorded, arguments)])
    try:
        import_module(f"semantic_aug.cli.{options.verb}").run(options)
        import_module("semantic_aug._distributed").leave()
        return OK
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except Exception as error:
        if options.traceback:
            traceback.print_exc()
        message = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, ModuleNotFoundError) and error.name in TRAINING:
            message += '; this verb needs pip install "semantic-aug[train]"'
        print(f"semantic-aug {options.verb}: {message}", file=sys.stderr)
        return REFUSED if isinstance(error, REFUSALS) else FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="semantic-aug", description="Semantic data augmentation for images.")
    completion.add_option(parser)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    data = "an image folder (DATA/<class>/*.png, jpg, ...), torchvision:NAME, or another source, see the README"
    checkpoint = "a bundled name (fer2013-48, fashion-mnist-32), a directory, or a Hub id (user/repo[@revision])"
    drawn = f"{data} (default: images that the checkpoint draws itself)"
    # What several verbs take; a verb may say otherwise.
    shared: dict[str, dict[str, Any]] = {
        "checkpoint": {"metavar": "CHECKPOINT", "help": checkpoint},
        "data": {"metavar": "DATA", "help": data},
        "--seed": {"metavar": "S", "type": int, "default": 0, "help": "default: 0"},
        "--device": {"metavar": "D", "help": "cpu, cuda, cuda:1, mps (default: the best there is)"},
        "--skip-bad": {"action": "store_true", "help": "leave out images that cannot be read"},
    }

    def verb(name: str, summary: str, example: str) -> Callable[..., argparse.Action]:
        sub = verbs.add_parser(name, help=summary, description=summary, epilog=f"example: semantic-aug {example}")
        sub.add_argument("--traceback", action="store_true", help="show where an error came from")
        return lambda option, **own: sub.add_argument(option, **(shared.get(option, {}) | own))

    add = verb("demo", "See a checkpoint at work, per sample and per batch.", "demo path/to/images")
    add("data", nargs="?", help=drawn)
    add("--checkpoint", metavar="CHECKPOINT", default="fer2013-48", help=f"{checkpoint}; default: fer2013-48")
    add("--output", metavar="PNG", default=DEMO_PICTURE, help=f"default: {DEMO_PICTURE}")

    add = verb(
        "train",
        "Train a checkpoint. Running the same command again goes on where it stopped.",
        "train faces/train --output runs/faces --preset fer2013-48 --minutes 60",
    )
    add("data")
    add("--output", metavar="DIR", required=True, help="gets state/, previews/, log.jsonl and, at the end, checkpoint/")
    add("--preset", metavar="NAME", help="tiny, fer2013-48, fashion-mnist-32, rgb-32, rafdb-96; not with --init")
    add("--init", metavar="CHECKPOINT", help=f"fine-tune: start from {checkpoint}")
    add("--images", metavar="N", type=int, help="training images to see; the horizon of every schedule")
    add("--minutes", metavar="M", type=float, help="end this sitting after M minutes; the state is saved")
    add("--seed")
    add("--device")
    add(
        "--precision",
        choices=("auto", "fp32", "bf16", "fp16"),
        default="auto",
        help="default: auto, bf16 on a GPU that has it, else fp32",
    )
    add("--validation", metavar="DATA", help="held-out images (default: a slice of DATA that is not trained on)")
    add("--imbalance", metavar="R", type=float, help="cut DATA to a long tail, the rarest class R times rarer")
    add("--sampling", choices=("natural", "balanced"), default="natural", help="balanced: each class equally often")
    add("--batch", metavar="N", type=int, help="images per step over all processes (default: 64)")
    add("--accumulate", metavar="N", type=int, default=1, help="compute each batch in N parts, to save memory")
    add("--compile", action="store_true", help="run the networks through torch.compile")
    add("--skip-bad")

    add = verb(
        "fit",
        "New class statistics for your own classes on an existing checkpoint; no training.",
        "fit fer2013-48 faces/train --output my-checkpoint",
    )
    add("checkpoint")
    add("data")
    add("--output", metavar="DIR", required=True, help="the new artifact; must not exist")
    add("--device")
    add("--skip-bad")

    add = verb(
        "encode",
        "Encode a data set once, so that augmenting it costs the decoder alone (LatentCache).",
        "encode fer2013-48 faces/train --output latents.safetensors",
    )
    add("checkpoint")
    add("data")
    add("--output", metavar="FILE", required=True, help="must not exist")
    add("--reconstructions", action="store_true", help="keep the decoded images too, which detail mode subtracts")
    add("--device")
    add("--skip-bad")

    add = verb(
        "expand",
        "Write an expanded data set, originals and new images. Running the same command again goes on.",
        "expand fer2013-48 faces/train --output balanced --balance",
    )
    add("checkpoint")
    add("data")
    add("--output", metavar="DIR", required=True, help="new, empty, or begun by the same command")
    add("--balance", action="store_true", help="raise every class to the largest")
    add("--per-class", metavar="N", type=int, help="raise every class to N images, originals included")
    add("--times", metavar="K", type=int, help="K times as many images of every class, originals included")
    add("--strength", metavar="S", type=float, help="scale of the covariance (default: the checkpoint's own)")
    add("--mode", choices=("detail", "decode"), help="default: the checkpoint's own")
    add("--perturbation", metavar="NAME", default="covariance", help="as of SemanticAugment; default: covariance")
    add("--seed")
    add("--format", choices=("folder", "webdataset"), default="folder", help="an image folder (default), or tar shards")
    add(
        "--originals",
        choices=("link", "copy", "symlink"),
        default="link",
        help="in a folder: hard links, copies across file systems (default), copies, or symbolic links",
    )
    add("--engine", choices=("local", "ray"), default="local", help="ray: actors on a Ray cluster, or on this machine")
    add("--verify", metavar="N", type=int, help="in the end, make N new images again and compare them bit for bit")
    add("--device")
    add("--skip-bad")

    add = verb(
        "evaluate",
        "Quality of a checkpoint on held-out images: reconstruction, realism, diversity, class agreement.",
        "evaluate fer2013-48 faces/validation --train faces/train --json figures.json",
    )
    add("checkpoint")
    add("data", help=f"held-out images, {data}")
    add("--train", metavar="DATA", help="real images to train the judge classifier on, where there is none yet")
    add("--judge", metavar="FILE", help="where the judge is kept (default: judge.safetensors)")
    add("--compared", metavar="N", type=int, default=2000, help="augment and judge at most N images (default: 2000)")
    add("--json", metavar="FILE", help="also write the figures there")
    add("--picture", metavar="PNG", help="an image of each class, and what the judge says of its augmentations")
    add("--seed")
    add("--device")
    add("--skip-bad")

    add = verb(
        "preview",
        "Pictures of what a checkpoint does: one as PNG, or all of them as an HTML page that needs no network.",
        "preview fer2013-48 faces/validation --output page.html",
    )
    add("checkpoint")
    add("data", nargs="?", help=drawn)
    add("--output", metavar="FILE", required=True, help="NAME.png or NAME.html")
    add(
        "--figure",
        metavar="NAME",
        help="counts, augmentations, pairs, balanced, strengths, directions, overview or samples "
        "(default: overview, without DATA samples; on a page all)",
    )
    add("--per-class", metavar="N", type=int, default=1, help="images of each class, where it shows these (default: 1)")
    add("--seed")
    add("--skip-bad")

    add = verb("app", "A page to play with, served on this machine (Gradio).", "app fer2013-48 faces/validation")
    add("checkpoint", nargs="?", default="fer2013-48", help=f"{checkpoint}; default: fer2013-48")
    add("data", nargs="?", help=drawn)
    add("--judge", metavar="FILE", help="a judge, as evaluate keeps it, to say which class it sees")
    add("--host", metavar="H", default="127.0.0.1", help="default: 127.0.0.1, this machine alone")
    add("--port", metavar="P", type=int, help="default: the first free one from 7860 on")
    add("--share", action="store_true", help="a public link, through Gradio's servers")
    add("--skip-bad")

    add = verb("inspect", "What a checkpoint holds: classes, counts, sizes, hashes, figures.", "inspect fer2013-48")
    add("checkpoint")

    add = verb(
        "push",
        "Upload a checkpoint to the Hugging Face Hub, with the pictures preview.png and samples.png beside it.",
        "push my-checkpoint user/repo --tag v1.0",
    )
    add("checkpoint")
    add("repository", metavar="USER/REPO", help="made where there is none; the token is HF_TOKEN or `hf auth login`'s")
    add("--private", action="store_true", default=None, help="make a new repository private")
    add("--tag", metavar="NAME", help="a new name for this state of the repository, such as v1.0")
    add("--license", metavar="ID", help="for the card of a checkpoint that has none, such as apache-2.0")
    add("--message", metavar="TEXT", help="what the commit says")
    return parser


def _recorded(word: str) -> str:
    """A word of the command line as artifacts and pages record it: without the paths of this machine."""
    option, equals, value = word.partition("=")
    if option.startswith("-") and equals:
        return f"{option}={_recorded(value)}"
    if re.match(r"\w+:", word):
        return word.partition("@")[0]
    return os.path.basename(word.rstrip("/")) if os.path.isabs(word) or os.path.exists(word) else word
