"""Train classifiers and compare augmentations: python -m benchmarks.classification (see --help)

Each finished run adds a line to the results. A run that is already in the results is skipped. Use ``--split
validation`` to choose settings. Use ``--split test``, which evaluates on the test images, only when all settings are
fixed.

    python -m benchmarks.classification fer2013 --train fer2013/train --validation fer2013/validation \\
        --imbalance 100 --dedup held-out --arms none randaugment ours+randaugment --seeds 3
    python -m benchmarks.classification --queue runs.txt --minutes 60 --keep states
"""

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torchvision

import semantic_aug
from semantic_aug import Artifact
from semantic_aug.data.dataset import ImageSet

from . import store
from .arms import PARTS, Part, parse_arm
from .bases import BASES, Base
from .checkpoint import compare_knowledge, load_artifact
from .classifiers import CLASSIFIERS
from .data import SPLITS, load
from .digest import digest
from .measure import measure
from .protocol import VERSION, resolve
from .train import OutOfTime, train, training_key

DONE, FAILED, REFUSED, WORK_LEFT = 0, 1, 2, 75  # exit codes. 75 is EX_TEMPFAIL. The same command continues.


def main(arguments: Sequence[str] | None = None) -> int:
    """Do the missing runs.

    Returns 0 if all runs are finished, 75 if the time was up before that, 1 if a run failed, and 2 if the arguments or
    the data are rejected.
    """
    from .queue import run_queue

    try:
        options = parse(sys.argv[1:] if arguments is None else arguments)
        deadline = time.monotonic() + 60 * options.minutes
        return run_queue(options, deadline) if options.queue else do_runs(options, deadline)
    except (ValueError, FileNotFoundError, ModuleNotFoundError) as error:
        complain(error)
        return REFUSED
    except (RuntimeError, OSError) as error:
        complain(error)
        return FAILED


def parse(words: Sequence[str], defaults: argparse.Namespace | None = None) -> argparse.Namespace:
    """Parse and check options, without looking at the data. Raises ValueError for invalid options."""
    options = _parser().parse_args(words, defaults)
    if options.queue is None:
        check_options(options)
    return options


def check_options(options: argparse.Namespace) -> None:
    """Raise ValueError for options that are invalid for any data."""
    if options.data is None or options.train is None:
        raise ValueError("pass NAME and --train DATA, or --queue FILE")
    if options.epochs < 1 or options.seeds < 1:
        raise ValueError(f"--epochs and --seeds must be at least 1, got {options.epochs} and {options.seeds}")
    for arm in map(parse_arm, options.arms):
        resolve(arm, options.base, dict(options.set))
        if options.classifier == "dan" and ("isda" in arm.name or len(arm.views) > 1):
            raise ValueError(f"arm {arm.name!r} needs features before a linear layer, which dan does not have")
        if arm.uses_checkpoint and options.split == "validation" and options.validation is None:
            raise ValueError(
                "--split validation without --validation evaluates on a part of --train, which the checkpoint may have "
                "been trained on; pass --validation, or leave out the arms that use a checkpoint"
            )


def describe_runs(
    options: argparse.Namespace, artifact: Artifact | None = None, data: ImageSet | None = None
) -> list[store.Run]:
    """The runs that the options ask for.

    All arms of a seed come before the next seed, so that arms can be compared early. ``artifact`` and ``data`` are
    needed if an arm uses a checkpoint.
    """
    settings = {}
    for name in options.arms:
        arm = parse_arm(name)
        settings[name] = resolve(arm, options.base, dict(options.set), artifact)
        if arm.uses_checkpoint:
            assert artifact is not None
            assert data is not None
            settings[name]["checkpoint_saw"] = compare_knowledge(artifact, data)
    return [
        {
            "data": options.data,
            "imbalance": options.imbalance,
            "dedup": options.dedup,
            "split": options.split,
            "classifier": options.classifier,
            "base": options.base,
            "arm": arm,
            "seed": seed,
            "epochs": options.epochs,
            "settings": settings[arm],
            "protocol": VERSION,
        }
        for seed in range(options.first_seed, options.first_seed + options.seeds)
        for arm in options.arms
    ]


def do_runs(options: argparse.Namespace, deadline: float) -> int:
    """Do the missing runs of one set of options, and return an exit code."""
    uses_checkpoint = any(parse_arm(arm).uses_checkpoint for arm in options.arms)
    data = measured = artifact = None
    if uses_checkpoint or options.plan:
        data, measured = load(options)
        artifact = load_artifact(options.checkpoint, data, more_labels=options.more_labels) if uses_checkpoint else None
    runs = describe_runs(options, artifact, data)
    finished = {store.identity(run): run for run in store.read(options.results)}
    missing = [run for run in runs if store.identity(run) not in finished]
    if options.plan:
        assert data is not None
        show_plan(missing, len(runs), len(data), list(finished.values()))
        return DONE
    if not missing:
        return DONE
    if data is None or measured is None:
        data, measured = load(options)
    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    digests = {"train_digest": digest(data), "measured_digest": digest(measured)}
    check_digests([finished[key] for key in map(store.identity, runs) if key in finished], digests)
    described: dict[str, Any] = {
        **digests,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "versions": find_versions(),
        "classes": data.classes,
        "counts": data.counts(),
        "measured_counts": measured.counts(),
        "images": len(data),
        "measured": len(measured),
    }
    torch.backends.cudnn.benchmark = True
    code = DONE
    for run in missing:
        if store.identity(run) in map(store.identity, store.read(options.results)):  # another process finished it
            continue
        state = None
        if options.keep is not None:
            key = training_key(run, data, device, described["versions"])
            state = options.keep / f"{key}.safetensors"
        try:
            network, rate = train(run, data, artifact, device, state=state, cache=options.cache, deadline=deadline)
        except OutOfTime:
            print(f"{title(run)}: the time is up; run the same command to continue")
            return WORK_LEFT
        except RuntimeError as error:  # such as a loss that diverged. It would diverge again, so do the other runs.
            complain(error)
            code = FAILED
            continue
        result = measure(network, data, measured, device)
        store.append(options.results, run | result | described | {"images_per_s": round(rate, 1)})
        shown = [f"{name} {result[name]:.4f}" for name in ("accuracy", "balanced_accuracy", "mAP")]
        shown += [f"adjusted {result['adjusted']['accuracy']:.4f} {result['adjusted']['balanced_accuracy']:.4f}"]
        print(f"{title(run)}  {'  '.join(shown)}  {rate:.0f} images/s", flush=True)
    return code


def show_plan(missing: Sequence[store.Run], total: int, images: int, finished: Sequence[store.Run]) -> None:
    """Print the missing runs and the time they need, estimated from finished runs of the same kind."""
    known, unknown = 0.0, 0
    for run in missing:
        alike = [
            other
            for other in finished
            if other["classifier"] == run["classifier"] and other["settings"]["size"] == run["settings"]["size"]
        ]
        alike = [other for other in alike if other["arm"] == run["arm"]] or alike
        minutes = run["epochs"] * images / alike[-1]["images_per_s"] / 60 if alike else None
        known, unknown = known + (minutes or 0), unknown + (minutes is None)
        print(f"{title(run)} {'?' if minutes is None else format(minutes, '.1f'):>6} min")
    beside = f", and {unknown} of unknown duration" if unknown else ""
    print(f"{len(missing)} of {total} runs are missing: {known:.1f} min{beside}")


def check_digests(finished: Sequence[store.Run], digests: dict[str, str]) -> None:
    """Raise ValueError if a finished run with the same name used different images."""
    for run in finished:
        for name, found in digests.items():
            if run[name] != found:
                raise ValueError(
                    f"the results have {title(run)} with {name} {run[name]}, but here it is {found}, so the images "
                    f"differ; choose another NAME for this data, or another file for --results"
                )


def title(run: store.Run) -> str:
    """A run in one line of output."""
    return f"{run['data']} {run['classifier']} {run['base']:<14} {run['arm']:<24} seed {run['seed']}"


def complain(error: Exception) -> None:
    """Print an error as one line on standard error."""
    print(f"classification: {' '.join(str(error).split())}", file=sys.stderr)


def find_versions() -> dict[str, str]:
    """The versions that may affect a result."""
    import torchmetrics  # from the extra "bench". If it is missing, this fails before the first run.

    modules = {"torch": torch, "torchvision": torchvision, "torchmetrics": torchmetrics, "semantic_aug": semantic_aug}
    return {"python": platform.python_version()} | {name: module.__version__ for name, module in modules.items()}


def parse_setting(text: str) -> tuple[str, Any]:
    """Parse NAME=VALUE, where the value is JSON or plain text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {text!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise ValueError(message)


def _parser() -> argparse.ArgumentParser:
    named: dict[str, Mapping[str, Base | Part]] = {"bases": BASES, "parts of arms": PARTS}
    lists = [
        f"{kind}:\n" + "\n".join(f"  {name:<16} {each.summary}" for name, each in known.items())
        for kind, known in named.items()
    ]
    parser = _Parser(
        prog="python -m benchmarks.classification",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n\n".join(lists),
    )
    add: Callable[..., Any] = parser.add_argument
    add("data", metavar="NAME", nargs="?", help="name of the data in the results")
    add("--train", metavar="DATA", help="any source that semantic-aug train accepts")
    add("--validation", metavar="DATA", help="default: a tenth of --train, which is then not trained on")
    add("--test", metavar="DATA", help="if it is the same as --validation, each split gets half of it")
    add("--split", choices=SPLITS, default="validation", help="the images to evaluate on (default: validation)")
    add("--dedup", choices=("train", "held-out"), help="remove near-duplicates of the other part from this part")
    add("--imbalance", metavar="R", type=float, help="cut --train to a long tail, like semantic-aug train")
    add("--classifier", choices=tuple(CLASSIFIERS), default="resnet18-quarter")
    add("--base", choices=tuple(BASES), default="natural", help="how to handle class imbalance (see below)")
    add("--arms", metavar="ARM", nargs="+", default=["none"], help="none, parts joined by +, or two views joined by /")
    add("--epochs", metavar="N", type=int, default=60)
    add("--seeds", metavar="N", type=int, default=1, help="number of seeds")
    add("--first-seed", metavar="S", type=int, default=0)
    add("--set", metavar="NAME=VALUE", nargs="+", type=parse_setting, default=[], help="change settings of the arms")
    add("--checkpoint", metavar="CHECKPOINT", default="fer2013-48", help="checkpoint for the arms that use one")
    add("--more-labels", action="store_true", help="allow a checkpoint that saw labels the classifier does not get")
    add("--device", metavar="D", help="default: cuda if available, otherwise cpu")
    add("--minutes", metavar="M", type=float, default=float("inf"), help="stop after this time with exit code 75")
    add("--queue", metavar="FILE", type=Path, help="a file with one set of options per line; other options given here "
        "apply to every line")  # fmt: skip
    add("--cache", metavar="DIR", type=Path, help="directory that keeps decoded images and latents")
    add("--keep", metavar="DIR", type=Path, help="directory that keeps trainings, to resume them and to evaluate them "
        "on the other split")  # fmt: skip
    add("--results", metavar="FILE", type=Path, default=store.RESULTS)
    add("--plan", action="store_true", help="print the missing runs and how long they would take")
    return parser
