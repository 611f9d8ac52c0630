"""Kill every command that writes, and look at what is left: ``python -m tests.kills --random 20``.

Each command is killed (SIGKILL) before every change of a file that Python makes, and at random moments. Every file must
then be whole: the old one or the new one. The same command is run again. Afterwards, everything must be as if the
command had been left alone, and nothing else may be there. The table of what was found is printed.

The processes are forks of this one, which has imported everything. It uses one thread.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from semantic_aug._files import DIGEST, open_tensors, parse_json, read_tensors
from semantic_aug.cli import main as cli
from semantic_aug.images import open_image
from semantic_aug.trainer import classifier
from tests.conftest import CLASSES, build_artifact, build_judge, write_folder, write_random_trunk
from tests.hub_server import TOKEN, Hub

CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
GROWING = ("log.jsonl", "tensorboard", "lock")  # files of a run that every sitting adds to
TRAIN = ["train", "faces", "--output", "run", "--preset", "tiny", "--device", "cpu", "--images", "96", "--batch", "16"]
SETTINGS = "lpips_weight=0 classifier_epochs=1 snapshot_images=32 draw_start=0.4 adversarial_start=0.2 held_out=0.2"


@dataclass(frozen=True)
class Command:
    """A command line, what is there before it (``prepare``), and whether it refuses to run once it has finished."""

    words: list[str]
    prepare: Callable[[], object] = lambda: None
    once: bool = False


def old_page() -> None:
    Path("page.html").write_text("old")


def old_picture() -> None:
    shutil.copy("faces/sad/0.png", "page.png")


def old_figures() -> None:
    Path("figures.json").write_text('{"old": 1}')
    build_judge(CLASSES, 18).save("judge.safetensors")


EVALUATE = ["evaluate", "saved", "faces", "--json", "figures.json", "--compared", "4", "--device", "cpu"]
EXPAND = ["expand", "saved", "faces", "--device", "cpu", "--per-class", "17", "--verify", "2"]
COMMANDS = {
    "train": Command([*TRAIN, *(word for each in SETTINGS.split() for word in ("--set", each))]),
    "fit": Command(["fit", "saved", "faces", "--output", "fitted", "--device", "cpu"], once=True),
    "encode": Command(["encode", "saved", "faces", "--output", "latents.safetensors", "--device", "cpu"], once=True),
    "expand": Command([*EXPAND, "--output", "expanded"]),
    "expand, copies": Command([*EXPAND, "--output", "expanded", "--originals", "copy"]),
    "expand, shards": Command([*EXPAND, "--output", "expanded", "--format", "webdataset"]),
    "evaluate": Command([*EVALUATE, "--judge", "judge.safetensors", "--picture", "page.png"], old_figures),
    "evaluate --train": Command([*EVALUATE, "--train", "faces"]),
    "preview": Command(["preview", "saved", "faces", "--output", "page.html"], old_page),
    "preview, PNG": Command(["preview", "saved", "faces", "--output", "page.png"], old_picture),
    "push": Command(["push", "saved", "user/repo"]),
}


# --- A command in a process of its own --------------------------------------------------------------------------


def start(words: list[str], kill_at: int = 0, events: Path | None = None) -> int:
    """Run a command in a fork, which kills itself before its change number ``kill_at``. Returns the process id.

    The names of its changes are written to ``events``.
    """
    process = os.fork()
    if process:
        return process
    code = 70
    try:
        for stream in (1, 2):
            os.dup2(os.open("../output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
        names: list[str] = []

        def hook(event: str, arguments: tuple) -> None:
            if event == "open":
                if not isinstance(arguments[2], int) or not arguments[2] & WRITES or str(arguments[0]) == os.devnull:
                    return
            elif event not in CHANGES:
                return
            names.append(f"{event} {arguments[0]}")
            if len(names) == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        code = cli.main(words)
        if events is not None:
            text = "\n".join(names)
            events.write_text(text)
    finally:
        sys.stdout.flush()
        os._exit(code)


def wait(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


# --- What is there ----------------------------------------------------------------------------------------------


def content(path: Path) -> object:
    """What a file says, without the times in it. Raises for a file that is not whole."""
    if path.is_symlink():
        return os.readlink(path)
    data = path.read_bytes()
    if path.suffix == ".safetensors":
        with open_tensors(path) as file:
            sealed = DIGEST in file.keys()
            tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}
        if sealed:  # all but the files of an artifact, whose hashes are in its config.json
            tensors, metadata = read_tensors(path, lambda _: None)
        meta = {name: without_times(json.loads(text)) if "{" in text else text for name, text in metadata.items()}
        return {name: value.tolist() for name, value in tensors.items()}, meta
    if path.suffix == ".json":
        return without_times(parse_json(data, str(path)))
    if path.suffix == ".png":
        with open_image(data) as image:
            image.load()
    return data


def without_times(tree: dict) -> dict:
    tree = {name: without_times(value) if isinstance(value, dict) else value for name, value in tree.items()}
    return {name: value for name, value in tree.items() if name != "seconds"}


def visible(place: Path, *, hidden: bool = False) -> dict[str, Path]:
    """The files and links below a folder, without those that grow, and without those in hidden folders."""
    found = {str(path.relative_to(place)): path for path in sorted(place.rglob("*"))}
    return {
        name: path
        for name, path in found.items()
        if not set(GROWING) & set(path.relative_to(place).parts)
        and (hidden or not any(part.startswith(".") for part in path.relative_to(place).parts))
    }


def contents(place: Path, *, hidden: bool = False) -> dict[str, object]:
    return {
        name: content(path) if path.is_file() or path.is_symlink() else None
        for name, path in visible(place, hidden=hidden).items()
    }


def problems(place: Path, old: dict, new: dict) -> list[str]:
    """The files that are neither the old nor the new ones. Files that only exist meanwhile must be whole."""
    found = []
    for name, path in visible(place).items():
        if not path.is_file():
            continue
        try:
            said = content(path)
        except Exception as error:
            found.append(f"{name} is broken: {error!r:.200}")
            continue
        versions = [each[name] for each in (old, new) if name in each]
        if versions and said not in versions:
            found.append(f"{name} is neither the old nor the new file")
    return found


# --- The experiment ---------------------------------------------------------------------------------------------


@dataclass
class Row:
    """What was found after the kills of a command that changes files so often."""

    changes: int
    kills: int = 0
    found: Counter = field(default_factory=Counter)
    wrong: Counter = field(default_factory=Counter)


class Experiment:
    """One command in one place, left alone first, and then killed again and again."""

    def __init__(self, name: str, root: Path, hub: Hub, original: Path) -> None:
        self.command, self.hub, self.original = COMMANDS[name], hub, original
        self.place, self.events = root / "place", root / "events.txt"
        self.name = name
        self.begin()
        self.old = contents(self.place, hidden=True)
        began = time.monotonic()
        code = wait(start(self.command.words, events=self.events))
        self.seconds = time.monotonic() - began
        assert code == 0, f"{name}: it fails by itself, with {code}: {(root / 'output.txt').read_text()[-2000:]}"
        self.row = Row(changes=len(self.events.read_text().splitlines()))
        self.new, self.pushed = contents(self.place, hidden=True), self.repository()
        assert self.new != self.old or self.pushed, f"{name}: it writes nothing"

    def begin(self) -> None:
        """Put everything in place as it is before the command."""
        os.chdir(self.place.parent)
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.original, self.place, symlinks=True)
        os.chdir(self.place)
        self.command.prepare()
        self.hub.repos.clear()

    def repository(self) -> dict[str, bytes]:
        """The files at the tip of what was pushed, besides those of a new repository."""
        repo = self.hub.repos.get("user/repo")
        files = {} if repo is None else repo.commits.get(repo.refs.get("main"), {})
        return {name: content for name, content in files.items() if name != ".gitattributes"}

    def kill_at_change(self, number: int) -> None:
        self.begin()
        self.check(wait(start(self.command.words, kill_at=number)), f"change {number}")

    def kill_after(self, seconds: float) -> None:
        self.begin()
        process = start(self.command.words)
        time.sleep(seconds)
        os.kill(process, signal.SIGKILL)
        self.check(wait(process), f"{seconds:.2f} s")

    def check(self, code: int, moment: str) -> None:
        """Look at what a kill left, run the command again, and look at the end."""
        row, wrong = self.row, []
        row.kills += code == -signal.SIGKILL
        wrong += problems(self.place, self.old, self.new)
        left = contents(self.place, hidden=True) if not wrong else {}
        state = "old" if left == self.old else "new" if left == self.new else "between"
        row.found[state] += 1
        if self.repository() not in ({}, self.pushed):
            wrong.append("the repository has half of the files")
        again = wait(start(self.command.words))
        if again != 0 and not (self.command.once and again == 2 and set(self.new) <= set(visible(self.place))):
            wrong.append(f"the same command ends with {again}")
        end = contents(self.place, hidden=True)
        wrong += [f"leftover {re.sub(r'[0-9a-f-]{3,}', '#', name)}" for name in end.keys() - self.new.keys()]
        missing = [name for name in self.new if name not in end or end[name] != self.new[name]]
        if missing or self.repository() != self.pushed:
            wrong.append(f"another end: {missing[:3]}")
        for text in wrong:
            if text not in row.wrong:
                print(f"{self.name}, killed at {moment}: {text}", file=sys.stderr, flush=True)
            row.wrong[text] += 1


def run(name: str, root: Path, hub: Hub, original: Path, at_random: int, every: int, seed: int = 0) -> Row:
    """Kill a command at every ``every``-th change of a file and at random moments."""
    experiment, draw = Experiment(name, root, hub, original), random.Random(seed)
    for number in range(1, experiment.row.changes + 1, every):
        experiment.kill_at_change(number)
    for _ in range(at_random):
        experiment.kill_after(draw.uniform(0, experiment.seconds))
    return experiment.row


def prepare(root: Path, patch: pytest.MonkeyPatch) -> tuple[Hub, Path]:
    """Write what the commands start from, and import what they need."""
    from accelerate import Accelerator  # noqa: F401
    from lpips import LPIPS  # noqa: F401
    from torch.utils.tensorboard import SummaryWriter  # noqa: F401

    torch.set_num_threads(1)
    original = root / "original"
    build_artifact().save(original / "saved")
    write_folder(original / "faces")
    hub = Hub()
    hub.connect(patch, root / "hub-home")
    patch.setenv("HF_TOKEN", TOKEN)
    patch.setenv("TORCH_HOME", str(write_random_trunk(root / "torch-home")))
    patch.setattr(tempfile, "tempdir", str(root / "place"))  # so that what is left there is found too
    patch.setattr(classifier, "has_learnt", lambda *_: True)  # f, trained for a moment, is asked all the same
    return hub, original


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=__doc__)
    parser.add_argument("--random", type=int, default=20, help="kills of each command at random moments")
    parser.add_argument("--every", type=int, default=1, help="kill only before every n-th change of a file")
    parser.add_argument("--command", action="append", choices=COMMANDS, help="only this one, as often as need be")
    options = parser.parse_args()
    patch, here, faults = pytest.MonkeyPatch(), Path.cwd(), 0
    columns = ("changes", "kills", "old", "new", "between", "leftovers", "other faults")
    print(f"{'command':18}{''.join(f'{each:>13}' for each in columns)}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        hub, original = prepare(Path(folder), patch)
        for name in options.command or COMMANDS:
            row = run(name, Path(folder), hub, original, options.random, options.every)
            faults += row.wrong.total()
            left = sum(count for text, count in row.wrong.items() if text.startswith("leftover"))
            found = [row.found[each] for each in ("old", "new", "between")]
            values = [row.changes, row.kills, *found, left, row.wrong.total() - left]
            print(f"{name:18}{''.join(f'{each:>13}' for each in values)}", flush=True)
        os.chdir(here)
        hub.close()
        patch.undo()
    return min(faults, 1)


if __name__ == "__main__":
    sys.exit(main())
