"""Expanded data sets: the right images, bit for bit whatever happens while they are written."""

import contextlib
import hashlib
import io
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.transforms.v2 import functional as F

from semantic_aug import Artifact
from semantic_aug._random import seeded
from semantic_aug.cli import main as cli
from semantic_aug.expansion.recipe import BLOCK, Maker, Recipe, one_thread, remake
from semantic_aug.expansion.run import differing
from semantic_aug.functional import semantic_augment_image
from semantic_aug.images import file_to_bytes
from semantic_aug.model.runtime import LatentModel
from tests.conftest import CLASSES, build_artifact, write_folder
from tests.forks import fork, launch

RUN = [sys.executable, "-m", "semantic_aug", "expand"]


def command(saved, data, output, *more):
    return [*RUN, *map(str, (saved, data, "--output", output, "--device", "cpu", *more))]


def run(saved, data, output, *more):
    return cli.main(command(saved, data, output, *more)[3:])


def manifest(output):
    return [json.loads(line) for line in (output / "manifest.jsonl").read_text().splitlines()]


def tree(output):
    """Every file below a folder, with its content."""
    return {str(path.relative_to(output)): path.read_bytes() for path in output.rglob("*") if path.is_file()}


COUNTS = dict(zip(CLASSES, (40, 10, 4), strict=True))
MORE = ("--per-class", "150")  # 396 new images in 13 blocks


def pixels(path):
    with Image.open(path) as file:
        return F.pil_to_tensor(file)


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """A checkpoint, its long-tailed data, and their expansion, left alone; not to be changed."""
    root = tmp_path_factory.mktemp("once")
    build_artifact().save(root / "saved")
    for name, count in COUNTS.items():
        write_folder(root / "tail", count, classes=[name], seed=count)
    assert run(root / "saved", root / "tail", root / "out", *MORE) == 0
    return root


def check_whole(output, data, counts):
    """Every image of a class once, none broken, all in the manifest, nothing else."""
    lines = manifest(output)
    assert [line["number"] for line in lines] == list(range(len(lines)))
    written = {line["file"]: line["sha256"] for line in lines}
    assert len(written) == len(lines)
    assert sorted(path.name for path in output.iterdir() if path.is_file()) == ["expand.json", "manifest.jsonl"]
    files = [str(path.relative_to(output)) for path in output.glob("*/**/*") if path.is_file()]
    originals = {str(path.relative_to(data)) for path in data.glob("*/*")}
    assert set(files) == originals | written.keys()
    assert Counter(file.split("/")[0] for file in files) == counts
    for file, digest in written.items():
        assert hashlib.sha256((output / file).read_bytes()).hexdigest() == digest


# --- What is written ------------------------------------------------------------------------------------------------


def test_an_image_folder_with_every_class_raised_evenly(once):
    check_whole(once / "out", once / "tail", dict.fromkeys(CLASSES, 150))
    assert len(ImageFolder(once / "out")) == 450, "torchvision reads it"
    for name, count in COUNTS.items():
        used = Counter(entry["source"] for entry in manifest(once / "out") if entry["class"] == name)
        assert len(used) == count
        assert max(used.values()) - min(used.values()) <= 1


def test_new_images_are_those_of_the_transform(once):
    """The oracle: the function behind SemanticAugment, an image at a time, with the noise that the manifest names."""
    model = LatentModel.of(Artifact.from_pretrained(once / "saved"))
    moved = 0
    for entry in manifest(once / "out")[::20]:
        source = pixels(once / "out" / entry["source"])
        noise = torch.randn(8, generator=seeded(entry["seed"], "noise", entry["class"], entry["copy"]))
        expected = semantic_augment_image(source, noise, model, CLASSES.index(entry["class"]), strength=0.35)
        found = pixels(once / "out" / entry["file"])
        assert (found.int() - expected.int()).abs().max() <= 1
        moved += not torch.equal(found, source)
    assert moved == 20


@pytest.mark.parametrize("mode", ["detail", "decode"])
@pytest.mark.parametrize("perturbation", ["pooled", "class-gaussian"])
def test_sizes_and_channels_are_those_of_the_sources(artifact, mode, perturbation):
    recipe = Recipe(artifact=artifact.fingerprint, strength=0.5, mode=mode, perturbation=perturbation, seed=3)
    shapes = [(1, 32, 32), (3, 20, 50), (1, 64, 31), (3, 32, 32)]
    images = [torch.randint(0, 256, shape, dtype=torch.uint8) for shape in shapes]
    with one_thread():
        made = Maker(artifact, recipe)(images, ["sad"] * 4, range(4), range(4))
    for copy, (image, new) in enumerate(zip(images, made, strict=True)):
        noise = torch.randn(8, generator=seeded(3, "noise", "sad", copy))
        expected = semantic_augment_image(
            image, noise, LatentModel.of(artifact), 2, strength=0.5, mode=mode, perturbation=perturbation
        )
        assert new.dtype == torch.uint8
        assert (new.int() - expected.int()).abs().max() <= 1


def test_an_image_depends_on_nothing_else_in_its_batch(artifact):
    recipe = Recipe(artifact=artifact.fingerprint, strength=0.5, mode="detail")
    maker, images = Maker(artifact, recipe), [torch.randint(0, 256, (1, 32, 32), dtype=torch.uint8) for _ in range(9)]
    with one_thread():
        together = maker(images, ["sad"] * 9, range(9), range(20, 29))
        for i in range(9):
            (alone,) = maker(images[i : i + 1], ["sad"], [i], [20 + i])
            assert torch.equal(alone, together[i])


def test_settings_are_checked(artifact):
    fine = {"artifact": artifact.fingerprint, "strength": 0.5, "mode": "detail"}
    for wrong, message in (
        ({"strength": -1.0}, "strength must be finite and >= 0, got -1.0"),
        ({"mode": "paint"}, "mode must be one of"),
        ({"perturbation": "interpolate"}, "perturbation must be one of covariance, pooled"),
    ):
        with pytest.raises(ValueError, match=message):
            Recipe(**fine | wrong)
    with pytest.raises(ValueError, match="made with another checkpoint"):
        Maker(build_artifact(classes=["a", "b"]), Recipe(**fine))


# --- Made again -----------------------------------------------------------------------------------------------------


def test_every_image_can_be_made_again(once, tmp_path, capsys):
    artifact = Artifact.from_pretrained(once / "saved")
    assert differing(once / "out", artifact, 10) == []
    output = shutil.copytree(once / "out", tmp_path / "out")
    entry = manifest(output)[7]
    assert remake(entry, output, artifact) == (output / entry["file"]).read_bytes()
    Image.new("L", (32, 32)).save(output / entry["file"])
    (output / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in manifest(output)[:9]))
    assert differing(output, artifact, 1000) == [entry["file"]]
    shutil.copy(once / "out" / "manifest.jsonl", output)
    assert run(once / "saved", once / "tail", output, *MORE, "--verify", "3") == 0, "the run repairs it first"
    assert "made 3 images again, bit-for-bit identical" in capsys.readouterr().out
    assert tree(output) == tree(once / "out")


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_change_nothing(once, tmp_path, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert run(once / "saved", once / "tail", tmp_path / "o", *MORE) == 0
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert tree(tmp_path / "o") == tree(once / "out")


def test_processes_change_nothing(once, tmp_path):
    """Two go on with what one began."""
    arguments = (once / "saved", once / "tail", tmp_path / "o", *MORE)
    lines = tmp_path / "o" / ".expand" / "lines-0.jsonl"
    # Three of the first four blocks: the first of the two processes, which takes the even ones, finds one of its own.
    began = fork(run, *arguments)
    assert kill_when(began, lambda: lines.exists() and lines.read_text().count("sha256") >= 3 * BLOCK)
    said = launch(cli.main, command(*arguments)[3:])
    assert said.count("of them there already") == said.count("wrote ") == 1
    assert tree(tmp_path / "o") == tree(once / "out")


def test_a_seed_changes_every_image(once, tmp_path):
    for name, seed in (("a", "1"), ("b", "1")):
        assert run(once / "saved", once / "tail", tmp_path / name, *MORE, "--seed", seed) == 0
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    first = {entry["sha256"] for entry in manifest(once / "out")}
    assert not first & {entry["sha256"] for entry in manifest(tmp_path / "a")}


# --- Killed ---------------------------------------------------------------------------------------------------------


def kill_when(process, ready):
    """Kill a process with SIGKILL as soon as ``ready()``; False where it ended before."""
    while process.is_alive() and not ready():
        time.sleep(0.005)
    process.kill()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def test_killed(once, tmp_path, capsys):
    output = tmp_path / "o"
    lines = output / ".expand" / "lines-0.jsonl"
    process = fork(run, once / "saved", once / "tail", output, *MORE)
    assert kill_when(process, lambda: lines.exists() and lines.stat().st_size > 0)
    assert not (output / "manifest.jsonl").exists()
    assert run(once / "saved", once / "tail", output, *MORE) == 0
    assert re.search(r"396 new images, [1-9]\d* of them there already", capsys.readouterr().out)
    assert tree(output) == tree(once / "out")
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*")}
    assert run(once / "saved", once / "tail", output, *MORE) == 0
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*") if path != output} == {
        path: time for path, time in before.items() if path != output
    }, "a finished one stays as it is"


def test_what_a_power_failure_leaves_is_made_again(once, tmp_path):
    """Files cut off though their lines are there, a line cut off, and files that nobody finished."""
    output = shutil.copytree(once / "out", tmp_path / "o")
    work = output / ".expand"
    work.mkdir()
    text = (output / "manifest.jsonl").read_text()
    (output / "manifest.jsonl").unlink()
    (work / "lines-0.jsonl").write_text(text[: len(text) // 2])
    (work / "lines-1.jsonl").write_bytes(b"null\n\xff\0\0")
    (work / "abc.part").write_bytes(b"half")
    first = manifest(once / "out")[0]["file"]
    (output / first).write_bytes(b"")
    (output / "angry" / "0.png").unlink()
    assert run(once / "saved", once / "tail", output, *MORE) == 0
    assert tree(output) == tree(once / "out")


def test_a_full_disk(once, tmp_path):
    """A limit on the size of files cuts off the lines in the middle of the work."""
    output, limit = tmp_path / "o", 30_000

    def run_limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        with open(tmp_path / "said", "w") as file, contextlib.redirect_stderr(file):
            return run(once / "saved", once / "tail", output, *MORE)

    process = fork(run_limited)
    process.join()
    said = (tmp_path / "said").read_text()
    assert process.exitcode == 1
    assert said.count("\n") == 1, said
    assert "File too large; make room, and run the same command again" in said
    assert run(once / "saved", once / "tail", output, *MORE) == 0
    assert tree(output) == tree(once / "out")


def test_only_one_process_at_a_time(once, tmp_path, line):
    output = tmp_path / "o"
    process = fork(run, once / "saved", once / "tail", output, *MORE)
    while not (output / ".expand" / "lines-0.jsonl").exists():
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGSTOP)
    try:
        assert run(once / "saved", once / "tail", output, *MORE) == 2
        assert "another process works on it; wait for it" in line()
    finally:
        os.kill(process.pid, signal.SIGCONT)
    process.join()
    assert process.exitcode == 0
    assert tree(output) == tree(once / "out")


@pytest.mark.slow
def test_fer2013_is_balanced_though_killed_five_times(fer2013, tmp_path):
    output, began = tmp_path / "balanced", time.monotonic()
    arguments = ("fer2013-48", fer2013 / "train", output, "--balance")
    lines = output / ".expand" / "lines-0.jsonl"
    for kill in range(1, 6):
        wanted = 4000 * kill + 37 * kill
        process = fork(run, *arguments)
        assert kill_when(process, lambda n=wanted: lines.is_file() and lines.read_bytes().count(b"}") >= n)
        print(
            f"killed with {len(list(output.glob('*/augmented-*')))} new images after {time.monotonic() - began:.0f} s"
        )
    done = subprocess.run(command(*arguments, "--verify", "100"), capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr, f"after {time.monotonic() - began:.0f} s")
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{usage.ru_utime + usage.ru_stime:.0f} s of CPU time")
    assert done.returncode == 0
    assert "made 100 images again, bit-for-bit identical" in done.stdout
    counts = dict.fromkeys(Artifact.from_pretrained("fer2013-48").classes, 7215)
    check_whole(output, fer2013 / "train", counts)


@pytest.mark.parametrize(
    "wrong",
    [
        {"number": 396},
        {"number": -1},
        {"number": "0"},
        {"source": "angry/1.png"},
        {"class": "happy"},
        {"seed": 7},
        {"file": "../stranger.png"},
        {"sha256": 5},
    ],
)
def test_a_line_that_this_run_did_not_write_counts_for_nothing(once, tmp_path, wrong):
    output = shutil.copytree(once / "out", tmp_path / "o")
    lines = manifest(output)
    entry = lines[0] | wrong
    if wrong.get("source") == lines[0]["source"] or wrong.get("class") == lines[0]["class"]:
        entry = lines[0] | {"source": "sad/0.png", "class": "nobody"}
    (output / "manifest.jsonl").unlink()
    (output / ".expand").mkdir()
    text = "".join(json.dumps(line) + "\n" for line in [*lines[1:], entry])
    (output / ".expand" / "lines-0.jsonl").write_text(text)
    assert run(once / "saved", once / "tail", output, *MORE) == 0
    assert tree(output) == tree(once / "out")


@pytest.mark.parametrize("place", [".expand", ".expand/lines-0.jsonl", "sad"])
def test_a_link_in_a_prepared_output_is_not_followed(once, tmp_path, line, place):
    output, others = tmp_path / "o", tmp_path / "others"
    (output / place).parent.mkdir(parents=True)
    if place == "sad":  # a run that was begun before
        shutil.copytree(once / "out", output, dirs_exist_ok=True)
        shutil.rmtree(output / "sad")
        (output / "manifest.jsonl").unlink()
    others.mkdir()
    (others / "a.part").write_text("mine")
    (output / place).symlink_to(others if "lines" not in place else others / "a.part")
    assert run(once / "saved", once / "tail", output, *MORE) in (1, 2)
    assert "is a link" in line()
    assert {path.name: path.read_text() for path in others.iterdir()} == {"a.part": "mine"}


@pytest.mark.parametrize("name", ["", "expand.json", "Manifest.jsonl", "x" * 256])
def test_a_class_that_cannot_be_a_folder_is_refused_before_work(tmp_path, capsys, line, name):
    datasets = pytest.importorskip("datasets")
    saved = build_artifact(classes=["sad", name]).save(tmp_path / "saved")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["sad", name])})
    images = [Image.new("L", (40, 30), "grey")] * 3
    rows = datasets.Dataset.from_dict({"image": images, "label": [0, 0, 1]}, features=features)
    rows.save_to_disk(str(tmp_path / "rows"))
    capsys.readouterr()  # its progress bar
    assert run(saved, tmp_path / "rows", tmp_path / "o", "--per-class", "3") == 2
    assert "cannot be a folder: its name is empty, one of expand.json, manifest.jsonl, or longer than 255" in line()
    assert not (tmp_path / "o").exists()


def test_images_that_change_meanwhile_are_noticed(saved, folder, tmp_path, line, monkeypatch):
    from semantic_aug.expansion.layouts import Folder

    placed = Folder.place

    def place_and_change(*arguments):
        placed(*arguments)
        Image.new("L", (32, 32), 77).save(tmp_path / "new.png")
        os.replace(tmp_path / "new.png", folder / "sad" / "0.png")

    monkeypatch.setattr(Folder, "place", place_and_change)
    assert run(saved, folder, tmp_path / "o", "--times", "2") == 1
    assert "faces has changed since this run began, so its images could not be made again" in line()
    assert not (tmp_path / "o" / "manifest.jsonl").exists()


@pytest.mark.parametrize(
    "change",
    [
        *({"source": "../secret.png"}, {"source": "/etc/passwd"}, {"copy": None}, {"seed": []}),
        *({"perturbation": "1e-320"}, {"copy": "x"}, {"number": float("inf")}, {"class": "-1"}),
        *({"artifact": ["f"]}, {"artifact": 3}, {"artifact": ""}, {"shrinkage": ""}, {"shrinkage": "\ud800"}),
    ],
)
def test_a_hostile_line_leads_nowhere(once, tmp_path, change):
    entry = manifest(once / "out")[0] | change
    expected = (
        r"is no path of a file below it|lacks a value, or has|gives no new image|another checkpoint|shrinkage must"
    )
    with pytest.raises(ValueError, match=f"{once / 'out'}.*({expected})"):
        remake(entry, once / "out", Artifact.from_pretrained(once / "saved"))


@pytest.mark.parametrize("offset", [4, 40, 60])
def test_a_source_that_is_damaged_is_named(once, tmp_path, offset):
    output = shutil.copytree(once / "out", tmp_path / "o")
    entry = manifest(output)[0]
    content = bytearray((output / entry["source"]).read_bytes())
    content[offset] ^= 1
    (output / entry["source"]).write_bytes(content)
    with pytest.raises(ValueError, match=f"o: '{entry['source']}' gives no new image of '{entry['class']}'"):
        remake(entry, output, Artifact.from_pretrained(once / "saved"))


@pytest.mark.parametrize("text", ["", "[]", "{", '{"skipped": "all"}', "[" * 100_000])
def test_a_damaged_record_of_a_run_is_named(once, tmp_path, line, text):
    output = shutil.copytree(once / "out", tmp_path / "o")
    (output / "expand.json").write_text(text)
    assert run(once / "saved", once / "tail", output, *MORE) == 2
    assert "expand.json" in line()


# --- Refused --------------------------------------------------------------------------------------------------------


def test_another_run_is_refused_with_what_differs(once, tmp_path, line):
    output = shutil.copytree(once / "out", tmp_path / "o")
    for more, message in (
        (("--per-class", "151"), "'per_class': 150, 'times': None} there, {'balance': False, 'per_class': 151"),
        ((*MORE, "--strength", "0.4"), "strength: 0.35 there, 0.4 here"),
        ((*MORE, "--format", "webdataset"), "layout: folder there, webdataset here"),
    ):
        assert run(once / "saved", once / "tail", output, *more) == 2
        assert message in line()
    assert tree(output) == tree(once / "out")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "expected one of --balance, --per-class N and --times K"),
        (["--balance", "--times", "2"], "expected one of --balance, --per-class N and --times K"),
        (["--times", "0"], "--times must be at least 1, got 0"),
        (["--balance", "--strength", "-1"], "strength must be finite and >= 0"),
        (["--balance", "--perturbation", "interpolate"], "perturbation must be one of covariance"),
        (["--balance", "--output", "{folder}/new"], "lies in "),
        (["--balance", "--output", "{folder}"], "lies in "),
        (["--balance", "--output", "{folder}/angry/0.png"], "is a file; --output takes a directory"),
        (["--balance", "--output", "{saved}"], "is not empty and has no expand.json"),
        (["--balance", "--output", "{saved}/no/such"], "no such folder to write such to"),
    ],
)
def test_what_is_refused_changes_nothing(folder, saved, tmp_path, line, more, message):
    before = sorted(tmp_path.rglob("*"))
    assert run(saved, folder, tmp_path / "o", *(word.format(folder=folder, saved=saved) for word in more)) == 2
    assert message in line()
    assert sorted(tmp_path.rglob("*")) == before


def test_unknown_classes_are_refused(saved, tmp_path, line):
    write_folder(tmp_path / "pets", classes=["cat", "sad"])
    assert run(saved, tmp_path / "pets", tmp_path / "o", "--balance") == 2
    assert "unknown classes ['cat']" in line()


def test_bad_images_are_refused_or_left_out(saved, folder, tmp_path, capsys):
    (folder / "happy" / "bad.png").write_bytes((folder / "happy" / "0.png").read_bytes()[:60])
    assert run(saved, folder, tmp_path / "o", "--balance") == 2
    assert "happy/bad.png: cannot be read as an image" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
    for spelt in (folder, os.path.relpath(folder)):  # the second time nothing is read to know which to leave out
        assert run(saved, spelt, tmp_path / "o", "--per-class", "8", "--skip-bad") == 0
        assert "left out 1 image" in capsys.readouterr().out
    assert Counter(entry["class"] for entry in manifest(tmp_path / "o")) == dict.fromkeys(CLASSES, 2)
    assert not (tmp_path / "o" / "happy" / "bad.png").exists()


def test_an_image_that_breaks_meanwhile_is_a_failure(saved, folder, tmp_path, line, monkeypatch):
    from semantic_aug.expansion.layouts import Folder

    placed = Folder.place
    monkeypatch.setattr(
        Folder, "place", lambda *arguments: (placed(*arguments), (folder / "sad" / "0.png").write_bytes(b""))
    )
    assert run(saved, folder, tmp_path / "o", "--times", "2") == 1
    assert "sad/0.png: cannot be read any more" in line()


# --- Originals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["link", "copy", "symlink"])
def test_originals_are_linked_or_copied(saved, folder, tmp_path, how):
    (folder / "sad" / "linked.png").symlink_to("0.png")  # which a link by name would lead astray
    assert run(saved, folder, tmp_path / "o", "--balance", "--originals", how) == 0
    for source in folder.glob("*/*.png"):
        target = tmp_path / "o" / source.relative_to(folder)
        assert target.read_bytes() == source.read_bytes()
        assert target.is_symlink() == (how == "symlink")
        assert target.samefile(source) == (how != "copy")


def test_across_file_systems_links_become_copies(saved, folder, tmp_path):
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system at /dev/shm")
    with tempfile.TemporaryDirectory(dir=shared) as other:
        assert run(saved, folder, Path(other) / "o", "--balance") == 0
        target = Path(other) / "o" / "sad" / "0.png"
        assert target.read_bytes() == (folder / "sad" / "0.png").read_bytes()


def test_names_are_kept_apart(saved, tmp_path):
    """Files of one name, a format that torchvision does not read, and a folder that was expanded before."""
    folder = write_folder(tmp_path / "in", 3)
    (folder / "sad" / "deeper").mkdir()
    shutil.copy(folder / "sad" / "0.png", folder / "sad" / "deeper" / "0.PNG")
    F.to_pil_image(pixels(folder / "sad" / "1.png")).save(folder / "sad" / "4.gif")
    assert run(saved, folder, tmp_path / "a", "--per-class", "7") == 0
    assert {path.name for path in (tmp_path / "a" / "sad").iterdir()} == {
        "0.png",
        "1.png",
        "2.png",
        "0-10.PNG",
        "4.png",
        "augmented-000000.png",
        "augmented-000001.png",
    }
    assert (tmp_path / "a" / "sad" / "4.png").read_bytes().startswith(b"\x89PNG")
    assert run(saved, tmp_path / "a", tmp_path / "b", "--per-class", "8") == 0
    assert (tmp_path / "b" / "sad" / "re-augmented-000000.png").is_file()
    assert len(ImageFolder(tmp_path / "b")) == 24
    assert differing(tmp_path / "b", Artifact.from_pretrained(saved), 100) == []


def test_a_data_set_without_files_is_written_as_png(tmp_path):
    """One whose class names are no names of folders."""
    saved = build_artifact(classes=["sad", "very/happy"]).save(tmp_path / "saved")
    datasets = pytest.importorskip("datasets")
    images = [Image.new(mode, (40, 30), "grey") for mode in ("L", "RGB", "L")]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["sad", "very/happy"])})
    rows = datasets.Dataset.from_dict({"image": images, "label": [0, 0, 1]}, features=features)
    rows.save_to_disk(str(tmp_path / "rows"))
    assert run(saved, tmp_path / "rows", tmp_path / "o", "--per-class", "3") == 0
    found = {str(path.relative_to(tmp_path / "o")): pixels(path).shape for path in (tmp_path / "o").glob("*/*")}
    assert {"sad/0.png", "sad/1.png", "very_happy/2.png"} < set(found)
    assert found["sad/1.png"] == (3, 30, 40)
    for entry in manifest(tmp_path / "o"):
        assert found[entry["file"]] == found[entry["source"]]
    assert differing(tmp_path / "o", Artifact.from_pretrained(saved), 10) == []


# --- Shards ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr("semantic_aug.expansion.layouts.SHARD", 100)


def test_shards_hold_the_same_images(once, tmp_path, small_shards):
    output = tmp_path / "o"
    assert run(once / "saved", once / "tail", output, *MORE, "--format", "webdataset", "--verify", "5") == 0
    shards = sorted(path.name for path in output.glob("*.tar"))
    assert shards == [f"shard-{i:06d}.tar" for i in range(5)]
    folder = {entry["number"]: entry["sha256"] for entry in manifest(once / "out")}
    assert {entry["number"]: entry["sha256"] for entry in manifest(output)} == folder
    labels, contents = Counter(), Counter()
    for shard in shards:
        with tarfile.open(output / shard) as tar:
            files = {member.name: tar.extractfile(member).read() for member in tar}
        stems = sorted({name.split(".")[0] for name in files})
        assert len(files) == 3 * len(stems)
        for stem in stems:
            about = json.loads(files[f"{stem}.json"])
            assert CLASSES[int(files[f"{stem}.cls"])] == about["class"]
            labels[about["class"]] += 1
            contents[files[f"{stem}.png"]] += 1
        assert len({json.loads(files[f"{stem}.json"])["class"] for stem in stems}) == 3, "classes are mixed"
    assert labels == dict.fromkeys(CLASSES, 150)
    assert contents == Counter(path.read_bytes() for path in (once / "out").glob("*/*.png"))


def test_shards_that_are_whole_are_kept(once, tmp_path, small_shards):
    output, words = tmp_path / "o", (*MORE, "--format", "webdataset")
    assert run(once / "saved", once / "tail", output, *words) == 0
    before = tree(output)
    kept = (output / "shard-000001.tar").stat().st_mtime_ns
    (output / "shard-000003.tar").unlink()
    (output / "shard-000004.tar").write_bytes(before["shard-000004.tar"][:5000])
    assert run(once / "saved", once / "tail", output, *words) == 0
    assert tree(output) == before
    assert (output / "shard-000001.tar").stat().st_mtime_ns == kept


def test_a_shard_with_a_link_in_place_of_an_image_is_written_anew(once, tmp_path, small_shards):
    output, words = tmp_path / "o", (*MORE, "--format", "webdataset")
    assert run(once / "saved", once / "tail", output, *words) == 0
    shard = output / "shard-000000.tar"
    before, name = shard.read_bytes(), next(entry["file"] for entry in manifest(output) if shard.name in entry["file"])
    with tarfile.open(fileobj=io.BytesIO(before)) as old, tarfile.open(shard, "w") as new:
        for member in old:
            if member.name == name.split("/")[1]:
                member.type, member.linkname, member.size = tarfile.SYMTYPE, "nowhere", 0
            new.addfile(member, old.extractfile(member) if member.isreg() else None)
    assert run(once / "saved", once / "tail", output, *words) == 0
    assert shard.read_bytes() == before


def test_webdataset_reads_the_shards(once, tmp_path, small_shards):
    """In a process of its own, for webdataset leaves the shards open."""
    pytest.importorskip("webdataset")
    assert run(once / "saved", once / "tail", tmp_path / "o", *MORE, "--format", "webdataset") == 0
    code = """
import json, sys, webdataset
data = webdataset.WebDataset(sys.argv[1], shardshuffle=False).decode("pil").to_tuple("png", "cls", "json")
print(json.dumps([(image.size, label, about["class"]) for image, label, about in data]))
"""
    words = [sys.executable, "-c", code, str(tmp_path / "o" / "shard-{000000..000004}.tar")]
    samples = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)
    assert Counter(label for _, label, _ in samples) == dict.fromkeys(range(3), 150)
    assert all(size == [32, 32] and CLASSES[label] == name for size, label, name in samples)


def write_every_kind(root):
    """A class folder with originals in five formats, and two that others read differently."""
    (root / "sad").mkdir(parents=True)
    picture = F.to_pil_image(torch.rand(3, 20, 30))
    for extension in ("jpg", "webp", "bmp", "tif", "png"):
        picture.save(root / "sad" / f"{extension}.{extension}")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(root / "sad" / "turned.jpg", exif=exif)
    transparent = picture.copy()
    transparent.putalpha(Image.linear_gradient("L").resize(picture.size))
    transparent.save(root / "sad" / "transparent.png")
    return root


def test_originals_that_others_read_differently_are_written_as_they_were_used(saved, tmp_path):
    data = write_every_kind(tmp_path / "in")
    assert run(saved, data, tmp_path / "out", "--times", "2") == 0
    names = {path.name for path in (tmp_path / "out" / "sad").iterdir() if not path.name.startswith("augmented")}
    assert names == {"jpg.jpg", "webp.webp", "bmp.bmp", "tif.tif", "png.png", "turned.png", "transparent.png"}
    for name, before in (("turned.png", "turned.jpg"), ("transparent.png", "transparent.png")):
        assert torch.equal(pixels(tmp_path / "out" / "sad" / name), file_to_bytes(str(data / "sad" / before), 3))
    sizes = {entry["source"]: pixels(tmp_path / "out" / entry["file"]).shape for entry in manifest(tmp_path / "out")}
    assert sizes["sad/turned.png"] == pixels(tmp_path / "out" / "sad" / "turned.png").shape == (3, 30, 20)
    assert differing(tmp_path / "out", Artifact.from_pretrained(saved), 100) == []


def test_shards_of_every_kind_of_file_are_read_by_webdataset_and_datasets(saved, tmp_path):
    data, output = write_every_kind(tmp_path / "in"), tmp_path / "out"
    assert run(saved, data, output, "--times", "2", "--format", "webdataset", "--verify", "3") == 0
    code = """
import json, sys, datasets, webdataset
shard = sys.argv[1]
one = webdataset.WebDataset(shard, shardshuffle=False).decode("pil").to_tuple("png", "cls")
two = datasets.load_dataset("webdataset", data_files=shard, split="train", cache_dir=sys.argv[2])
print(json.dumps([[list(image.size) for image, _ in one], [list(row["png"].size) for row in two]]))
"""
    words = [sys.executable, "-c", code, str(output / "shard-000000.tar"), str(tmp_path / "cache")]
    done = subprocess.run(words, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    one, two = json.loads(done.stdout)
    assert one == two
    assert Counter(map(tuple, one)) == {(30, 20): 12, (20, 30): 2}
    assert run(saved, data, tmp_path / "kept", "--times", "2", "--format", "webdataset", "--originals", "copy") == 0
    with tarfile.open(tmp_path / "kept" / "shard-000000.tar") as tar:
        kinds = Counter(Path(member.name).suffix for member in tar)
    assert kinds == {".cls": 14, ".json": 14, ".png": 10, ".jpg": 1, ".webp": 1, ".bmp": 1, ".tif": 1}


# --- Ray ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_ray_writes_the_same_though_an_actor_is_killed(once, tmp_path):
    pytest.importorskip("ray")
    output = tmp_path / "o"
    words = command(once / "saved", once / "tail", output, "--per-class", "1000", "--engine", "ray")
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = output / ".expand" / "lines-0.jsonl"
    while process.poll() is None and not lines.is_file():
        time.sleep(0.05)
    actors = [
        int(path.name)
        for path in Path("/proc").iterdir()
        if path.name.isdigit() and b"MapWorker" in (path / "cmdline").read_bytes()
    ]
    assert len(actors) == 2
    there = len(list(output.glob("*/augmented-*")))
    os.kill(actors[0], signal.SIGKILL)
    print(process.communicate()[0], f"killed one of the actors {actors} with {there} new images there")
    assert there < 2946
    assert process.returncode == 0
    local = tmp_path / "local"
    assert run(once / "saved", once / "tail", local, "--per-class", "1000") == 0
    assert tree(output) == tree(local)
