"""Does it help a classifier, and against what? python -m benchmarks.classification DATA --train ... (see --help)

Every arm trains the same classifier from scratch, with the same initial weights for the same seed, on the same number
of images in the same number of steps. Stage "screen" chooses settings, on validation images; stage "report" reads the
test images, with settings that are fixed. Each finished run adds a line to the results; running the same command again
does what is missing.

    python -m benchmarks.classification fer2013 --train fer2013/train --validation fer2013/validation \\
        --arms none balanced ours-detail --seeds 3
    python -m benchmarks.classification fer2013 --train fer2013/train --test fer2013/test --stage report \\
        --classifier resnet34 --epochs 40 --arms all --seeds 5 --plan
"""

import argparse
import hashlib
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from os.path import samefile
from pathlib import Path
from typing import Any

import torch
import torchvision
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import semantic_aug
from benchmarks.classification import store
from benchmarks.classification.arms import ARMS, COMMON, SAMPLING, Context, checked, resolve
from benchmarks.classification.classifiers import CLASSIFIERS
from benchmarks.classification.duplicates import without_duplicates
from benchmarks.classification.isda import ISDA
from semantic_aug import Artifact, SemanticAugmentBatch
from semantic_aug.files import save_whole
from semantic_aug.images import bytes_to_model
from semantic_aug.labels import same_names
from semantic_aug.sampling import seeded
from semantic_aug.trainer.data import ImageSet, cut_to_imbalance, hold_out, load_data
from semantic_aug.trainer.judge import MOMENTUM, WEIGHT_DECAY, one_cycle, vary

SPLITS = {"screen": "validation", "report": "test"}
HELD_OUT = 0.1  # of the training images, where no validation images are given
DATA_SEED = 0  # of the held-out part
EVALUATED = 512  # images a batch
FITTED = 500  # training images of a class whose recall is measured too, at most


# --- One run ----------------------------------------------------------------------------------------------------


def train(run: store.Run, data: ImageSet, artifact: Artifact | None, device: torch.device) -> tuple[nn.Module, float]:
    """Train a classifier as ``run`` says; it, and the images per second.

    On a CPU the same arguments give the same weights bit for bit. Raises RuntimeError where the loss diverges.
    """
    arm, settings, seed = ARMS[run["arm"]], run["settings"], run["seed"]
    batch, classes = settings["batch"], len(data.classes)
    steps = max(run["epochs"] * len(data) // batch, 1)
    clean_from = steps - settings.get("clean_epochs", 0) * len(data) // batch
    context = Context(data, settings, seed, device, artifact)
    with torch.random.fork_rng(devices=[]):  # the initial weights and v2's transforms draw from the global generator
        torch.manual_seed(seed)
        network = CLASSIFIERS[run["classifier"]](settings["channels"], classes).to(device)
        network.to(memory_format=torch.channels_last)
        change, mix = arm.change and arm.change(context), arm.mix and arm.mix(context)
        isda = ISDA(classes, network.head.in_features, device) if "lambda0" in settings else None
        optimizer = torch.optim.SGD(
            network.parameters(), settings["learning_rate"], momentum=MOMENTUM, nesterov=True,
            weight_decay=WEIGHT_DECAY,
        )  # fmt: skip
        order = SAMPLING[settings["sampling"]](data.labels, seed)
        images = data.images.to(device)
        losses = torch.zeros((), device=device)
        began = time.perf_counter()
        for step in range(steps):
            indices = order(step * batch, batch)
            labels = data.labels[indices]
            x = images[indices.to(device, non_blocking=True)]
            if change and step < clean_from:
                x = change(x, labels, indices)
            if run["base"] == "flip-crop":
                uniform = torch.rand(batch, 3, generator=seeded(seed, "base", step))
                x = vary(x, uniform.to(device, non_blocking=True))
            x, targets = bytes_to_model(x), labels.to(device, non_blocking=True)
            if mix and step < clean_from:
                x, targets = mix(x, targets)
            x = x.contiguous(memory_format=torch.channels_last)
            with torch.autocast(device.type, torch.bfloat16, enabled=settings["precision"] == "bf16"):
                logits, state = network(x)
            logits = logits.float()
            if isda:
                isda.update(state.detach().float(), targets)
                strength = settings["lambda0"] * (step / steps)
                logits = isda.logits(logits, targets, network.head.weight, strength)
            loss = cross_entropy(logits, targets) + network.auxiliary(state, targets)
            optimizer.param_groups[0]["lr"] = settings["learning_rate"] * one_cycle(step / steps)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            losses += loss.detach()
        if not math.isfinite(float(losses)):  # which waits for the device, so that the time is the whole time
            raise RuntimeError(f"the loss of {run['arm']}, seed {seed}, is not finite; lower learning_rate")
    return network.eval(), steps * batch / (time.perf_counter() - began)


def trained(
    run: store.Run, data: ImageSet, artifact: Artifact | None, device: torch.device, directory: Path | None
) -> tuple[nn.Module, float]:
    """What ``train`` gives, from ``directory`` where the same training was done before, for another stage."""
    if directory is None:
        return train(run, data, artifact, device)
    same = {name: run[name] for name in ("arm", "classifier", "base", "seed", "epochs", "settings")}
    same |= {"device": device.type, "versions": _versions()}
    key = hashlib.sha256(json.dumps(same, sort_keys=True).encode())
    key.update(data.images.contiguous().numpy())  # the data are what they are, not what they are called
    key.update(data.labels.numpy())
    path = directory / f"{key.hexdigest()[:32]}.safetensors"
    if path.is_file():
        network = CLASSIFIERS[run["classifier"]](run["settings"]["channels"], len(data.classes))
        network.load_state_dict(load_file(path))
        with safe_open(path, "pt") as file:
            rate = float(file.metadata()["images_per_s"])
        return network.to(device, memory_format=torch.channels_last).eval(), rate
    network, rate = train(run, data, artifact, device)
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.cpu().contiguous() for name, tensor in network.state_dict().items()}
    save_whole(tensors, path, path.with_suffix(f".{os.getpid()}"), {"images_per_s": str(rate)})
    return network, rate


@torch.no_grad()
def probabilities(network: nn.Module, data: ImageSet, device: torch.device) -> Tensor:
    """(N, K) on the CPU; without autocast, and float64 in the end, for rounding would tie ranks of sure predictions."""
    parts = [
        network(data.batch(slice(start, start + EVALUATED)).to(device))[0].double().softmax(1).cpu()
        for start in range(0, len(data), EVALUATED)
    ]
    return torch.cat(parts)


def figures(predicted: Tensor, labels: Tensor) -> dict[str, Any]:
    """Accuracy, mean over classes of average precision and of recall, and the recalls, as fractions."""
    from torchmetrics.functional.classification import multiclass_average_precision, multiclass_recall

    k = predicted.shape[1]
    recall = multiclass_recall(predicted, labels, k, average=None)
    precision = multiclass_average_precision(predicted, labels, k, average="macro")
    return {
        "accuracy": round(float((predicted.argmax(1) == labels).double().mean()), 6),
        "mAP": round(float(precision), 6),
        "balanced_accuracy": round(float(recall.mean()), 6),
        "recall": [round(value, 6) for value in recall.tolist()],
    }


def all_figures(
    network: nn.Module, data: ImageSet, measured: ImageSet, augmented: ImageSet | None, device: torch.device
) -> dict[str, Any]:
    """The figures of ``measured``, and two that say what they come from.

    ``fitted``: recall per class on (some of) the training images ``data``. ``alarms``: the share of the images of all
    other classes that is called the rarest class, as they are and ``augmented``.
    """
    counts = data.counts()
    seen = data.subset(torch.cat([(data.labels == k).nonzero().flatten()[:FITTED] for k in range(len(counts))]))
    predicted = probabilities(network, measured, device)
    found = figures(predicted, measured.labels)
    found["fitted"] = figures(probabilities(network, seen, device), seen.labels)["recall"]
    if augmented is not None:
        rarest = counts.index(min(counts))
        called = [each.argmax(1) == rarest for each in (predicted, probabilities(network, augmented, device))]
        others = measured.labels != rarest
        found["alarms"] = [round(float(each[others].double().mean()), 6) for each in called]
    return found


def all_augmented(data: ImageSet, artifact: Artifact) -> ImageSet:
    """Every image of ``data`` augmented once, as the checkpoint recommends."""
    augment = SemanticAugmentBatch(
        1.0, checkpoint=artifact, classes=data.classes, generator=seeded(DATA_SEED, "augmented"), domain_check=False
    )
    parts = zip(data.images.split(EVALUATED), data.labels.split(EVALUATED), strict=True)
    return replace(data, images=torch.cat([augment(images, labels)[0] for images, labels in parts]))


# --- Data -------------------------------------------------------------------------------------------------------


def load(options: argparse.Namespace) -> tuple[ImageSet, ImageSet]:
    """Images to train on and images to measure on. Raises ValueError where a class is missing in one of them."""

    settings = COMMON | dict(options.set)
    channels, size = (checked(name, settings[name]) for name in ("channels", "size"))

    def images(spec: str) -> ImageSet:
        return load_data(spec, channels, size, cache=options.cache)

    data, held_out = images(options.train), getattr(options, SPLITS[options.stage])
    if held_out is not None:
        measured = images(held_out)
        if same_source(options.validation, options.test):  # a half for each
            measured = dict(zip(SPLITS, hold_out(measured, 0.5, DATA_SEED), strict=True))[options.stage]
    elif options.stage == "screen":
        # Before the cut, so that the tail is measured on as many images as there are.
        data, measured = hold_out(data, HELD_OUT, DATA_SEED)
    else:
        raise ValueError("stage report measures on test images; pass --test")
    if options.dedup == "held-out":  # before the cut, for the checkpoint may know more of the training images
        measured = without_duplicates(measured, [data])
    if options.imbalance is not None:
        data = cut_to_imbalance(data, options.imbalance)
    if options.dedup == "train":  # of both splits where both are given, so that both stages train on the same images
        others = [images(spec) for spec in (options.validation, options.test) if spec is not None]
        data = without_duplicates(data, others if held_out is not None else [*others, measured])
    measured = same_classes(data, measured, SPLITS[options.stage])
    for name, part in (("train", data), (SPLITS[options.stage], measured)):
        if 0 in part.counts():
            raise ValueError(f"{name} has no image of some class: its classes {part.classes} have {part.counts()}")
    return data, measured


def same_source(a: str | None, b: str | None) -> bool:
    """Whether two specifications are the same, or name the same directory."""
    return a is not None and b is not None and (a == b or (os.path.isdir(a) and os.path.isdir(b) and samefile(a, b)))


def same_classes(data: ImageSet, other: ImageSet, name: str) -> ImageSet:
    """``other`` with the labels of ``data``. Raises ValueError with both lists where they differ."""
    if not same_names(other.classes, data.classes):
        raise ValueError(f"train has the classes {data.classes}, {name} has {other.classes}")
    return other.with_classes(data.classes)


def load_artifact(checkpoint: str, data: ImageSet) -> Artifact:
    """The checkpoint. Raises ValueError with both lists where its classes are not those of ``data``."""
    artifact = Artifact.load(checkpoint)
    if not same_names(artifact.classes, data.classes):
        raise ValueError(f"the data has the classes {data.classes}, checkpoint {checkpoint} has {artifact.classes}")
    return artifact


# --- Many runs --------------------------------------------------------------------------------------------------


def wanted(options: argparse.Namespace, data: ImageSet, artifact: Artifact | None) -> list[store.Run]:
    """The runs that the options ask for: all arms of a seed before the next seed, so that arms can be compared soon."""
    settings = {
        arm: resolve(arm, dict(options.set), options.epochs, artifact if ARMS[arm].artifact else None, data)
        for arm in options.arms
    }
    if options.classifier == "dan" and "isda" in options.arms:
        raise ValueError("ISDA is defined for logits that are linear in the features; dan's are normalised after that")
    return [
        {
            "data": options.data, "imbalance": options.imbalance, "split": SPLITS[options.stage],
            "classifier": options.classifier, "base": options.base, "arm": arm, "seed": seed,
            "epochs": options.epochs, "dedup": options.dedup, "stage": options.stage, "settings": settings[arm],
        }
        for seed in range(options.first_seed, options.first_seed + options.seeds)
        for arm in options.arms
    ]  # fmt: skip


def expected_seconds(run: store.Run, images: int, device: str, done: Sequence[store.Run]) -> float | None:
    """How long a run takes, from the rate of runs that are there: of its arm, else of any; None where none tells."""
    same = [
        other for other in done
        if (other["classifier"], other["device"]) == (run["classifier"], device)
        and other["settings"]["size"] == run["settings"]["size"]
    ]  # fmt: skip
    of_arm = [other["images_per_s"] for other in same if other["arm"] == run["arm"]]
    rates = of_arm or [other["images_per_s"] for other in same]
    return run["epochs"] * images / statistics.median(rates) if rates else None


def show_plan(missing: Sequence[store.Run], total: int, images: int, device: str, done: Sequence[store.Run]) -> None:
    """Print what is missing, and how long it would take."""
    seconds = [expected_seconds(run, images, device, done) for run in missing]
    for run, needed in zip(missing, seconds, strict=True):
        duration = f"{needed / 60:6.1f} min" if needed is not None else "     ? min"
        print(f"{_title(run)} {duration}")
    known = sum(needed for needed in seconds if needed is not None)
    unknown = sum(needed is None for needed in seconds)
    beside = f", and {unknown} of unknown duration" if unknown else ""
    print(f"{len(missing)} of {total} runs are missing: {known / 60:.1f} min on {device}{beside}")


def check_counts(done: Sequence[store.Run], images: int, measured: int) -> None:
    """Raise ValueError where a finished run of the same name was trained or measured on other data."""
    for run in done:
        found = (run["images"], run.get("measured", measured))  # lines of old lack the second
        if found != (images, measured):
            raise ValueError(
                f"the results have {run['arm']}, seed {run['seed']}, of {run['data']}, trained on {found[0]} and "
                f"measured on {found[1]} images; here are {images} and {measured}: give this data another NAME"
            )


def _title(run: store.Run) -> str:
    return f"{run['classifier']} {run['base']} {run['arm']:<15} seed {run['seed']}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Do the runs that are missing; 0, or 2 where the arguments or the data are refused, and 1 where a run fails."""
    try:
        return _main(_parser().parse_args(arguments))
    except (ValueError, FileNotFoundError, ModuleNotFoundError) as error:
        code, reason = 2, error
    except (RuntimeError, OSError) as error:
        code, reason = 1, error
    _complain(reason)
    return code


def _main(options: argparse.Namespace) -> int:
    _known("classifier", [options.classifier], CLASSIFIERS)
    options.arms = list(ARMS) if options.arms == ["all"] else options.arms
    _known("arm", options.arms, ARMS)
    if options.epochs < 1 or options.seeds < 1:
        raise ValueError(f"--epochs and --seeds must be at least 1, got {options.epochs} and {options.seeds}")
    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    device_name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    if options.stage == "screen" and options.validation is None and any(ARMS[arm].artifact for arm in options.arms):
        raise ValueError(
            "a screen without --validation measures on a part of --train, on which a checkpoint may have been trained; "
            "pass --validation, or leave out the arms that use one"
        )
    data, measured = load(options)
    try:
        artifact = load_artifact(options.checkpoint, data)
    except ValueError:  # other arms do without, but are measured with one where there is one
        if any(ARMS[arm].artifact for arm in options.arms):
            raise
        artifact = None
    runs = wanted(options, data, artifact)
    done = {store.identity(run): run for run in store.read(options.results)}
    missing = [run for run in runs if store.identity(run) not in done]
    check_counts([done[key] for key in map(store.identity, runs) if key in done], len(data), len(measured))
    if options.plan:
        show_plan(missing, len(runs), len(data), device_name, list(done.values()))
        return 0
    described = {"device": device_name, "versions": _versions()}
    augmented = all_augmented(measured, artifact) if missing and artifact is not None else None
    torch.backends.cudnn.benchmark = True
    began, failed = time.monotonic(), False
    for run in missing:
        done = {store.identity(other): other for other in store.read(options.results)}
        if store.identity(run) in done:  # by another process, meanwhile
            continue
        needed = expected_seconds(run, len(data), device_name, list(done.values())) or 0.0
        if options.minutes is not None and time.monotonic() - began + needed > 60 * options.minutes:
            print(f"{options.minutes:g} minutes are not enough for the next run; the same command goes on")
            break
        try:
            network, rate = trained(run, data, artifact, device, options.weights)
        except RuntimeError as error:  # such as a loss that diverged; it would again, and the others must not wait
            _complain(error)
            failed = True
            continue
        result = all_figures(network, data, measured, augmented, device)
        line = run | result | described | {"images": len(data), "measured": len(measured), "classes": data.classes,
                                           "images_per_s": round(rate, 1)}  # fmt: skip
        store.append(options.results, line)
        shown = "  ".join(f"{name} {result[name]:.4f}" for name in ("accuracy", "mAP", "balanced_accuracy"))
        print(f"{_title(run)}  {shown}  {rate:.0f} images/s", flush=True)
    return 1 if failed else 0


def _complain(error: Exception) -> None:
    print(f"classification: {' '.join(str(error).split())}", file=sys.stderr)


def _known(kind: str, names: Sequence[str], known: dict[str, Any]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"unknown {kind} {name!r}; known: {', '.join(known)}")


def _versions() -> dict[str, str]:
    import torchmetrics  # a part of the extra "bench"; asked for before the first run, not after it

    modules = {"torch": torch, "torchvision": torchvision, "torchmetrics": torchmetrics, "semantic_aug": semantic_aug}
    return {"python": platform.python_version()} | {name: module.__version__ for name, module in modules.items()}


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {text!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="arms:\n" + "\n".join(f"  {name:<15} {arm.summary}" for name, arm in ARMS.items()),
    )  # fmt: skip
    add: Callable[..., Any] = parser.add_argument
    add("data", metavar="NAME", help="what the data is called in the results")
    add("--train", metavar="DATA", required=True, help="any source that semantic-aug train takes")
    add("--validation", metavar="DATA", help="for stage screen (default: a tenth of --train, not trained on)")
    add("--test", metavar="DATA", help="for stage report; the same as --validation: a half of it for each stage")
    add("--stage", choices=tuple(SPLITS), default="screen")
    add("--dedup", choices=("train", "held-out"), default=False, help="leave out its near-duplicates of the other part")
    add("--imbalance", metavar="R", type=float, help="cut --train to a long tail, as semantic-aug train does")
    add("--classifier", metavar="NAME", default="resnet18-half", help=", ".join(CLASSIFIERS))
    add("--arms", metavar="ARM", nargs="+", default=["none", "balanced", "ours-detail"], help='see below, or "all"')
    add("--base", choices=("none", "flip-crop"), default="flip-crop", help="augmentation that every arm gets")
    add("--epochs", metavar="N", type=int, default=10)
    add("--seeds", metavar="N", type=int, default=1, help="so many seeds")
    add("--first-seed", metavar="S", type=int, default=0)
    add("--set", metavar="NAME=VALUE", nargs="+", type=_setting, default=[], help="change settings of the arms")
    add("--checkpoint", metavar="CHECKPOINT", default="fer2013-48", help="of the arms that use one")
    add("--device", metavar="D", help="default: cuda if there is one, else cpu")
    add("--minutes", metavar="M", type=float, help="start no run that would end later than that")
    add("--cache", metavar="DIR", help="keeps the decoded images")
    add("--weights", metavar="DIR", type=Path, help="keeps trained classifiers for other stages; new for other code")
    add("--results", metavar="FILE", type=Path, default=store.RESULTS)
    add("--plan", action="store_true", help="print what is missing, and how long it would take")
    return parser


if __name__ == "__main__":
    sys.exit(main())
