import argparse
import json
import shutil
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.classification import __main__ as classification
from benchmarks.classification import arms, store
from benchmarks.classification.arms import ARMS, Context, SquareRootOrder, graded, repeated
from semantic_aug import ClassStatistics, SemanticAugmentBatch
from semantic_aug.data.dataset import cut_to_imbalance, load_folder
from semantic_aug.data.orders import BalancedOrder
from tests.conftest import CLASSES, build_artifact, write_folder

pytest.importorskip("torchmetrics")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """``train`` with a long tail, ``validation`` and ``test``, and a checkpoint of their classes."""
    root = tmp_path_factory.mktemp("faces")
    write_folder(root / "train", 12, seed=1)
    for number in range(4, 12):
        (root / "train" / "sad" / f"{number}.png").unlink()
    for seed, split in enumerate(("validation", "test"), 2):
        write_folder(root / split, 4, seed=seed)
    build_artifact().save(root / "checkpoint")
    return root


@pytest.fixture
def command(root, tmp_path):
    """Words of a tiny run; figures go to ``runs.jsonl``."""
    return [
        "tiny", "--train", str(root / "train"), "--validation", str(root / "validation"), "--test", str(root / "test"),
        "--checkpoint", str(root / "checkpoint"), "--epochs", "2", "--results", str(tmp_path / "runs.jsonl"),
        "--device", "cpu",
    ]  # fmt: skip


SMALL = ["--set", "size=32", "batch=8", "precision=fp32"]


def test_every_arm_runs_once_and_a_run_that_is_there_is_skipped(command, tmp_path, capsys):
    words = [*command, "--arms", "all", *SMALL, "batch=14"]
    assert classification.main(words) == 0
    lines = store.read(tmp_path / "runs.jsonl")
    assert [line["arm"] for line in lines] == list(ARMS)
    for line in lines:
        assert (line["data"], line["split"], line["stage"], line["dedup"]) == ("tiny", "validation", "screen", False)
        assert 0 <= line["mAP"] <= 1
        assert len(line["recall"]) == len(line["classes"]) == 3
        assert line["balanced_accuracy"] == pytest.approx(sum(line["recall"]) / 3, abs=1e-5)
        assert len(line["fitted"]) == 3
        assert len(line["alarms"]) == 2
        assert line["images"] == 28
        assert line["images_per_s"] > 0
        assert ("fingerprint" in line["settings"]) == ARMS[line["arm"]].artifact
        assert None not in [line["settings"].get(name, 0) for name in ("mode", "strength", "p", "shrinkage")]
    capsys.readouterr()
    assert classification.main([*words, "--plan"]) == 0
    assert f"0 of {len(ARMS)} runs are missing: 0.0 min on cpu" in capsys.readouterr().out
    assert classification.main(words) == 0
    assert capsys.readouterr().out == ""
    assert len(store.read(tmp_path / "runs.jsonl")) == len(ARMS)


def test_another_stage_takes_the_classifier_that_was_kept(command, tmp_path, monkeypatch):
    words = [*command, "--arms", "none", "ours-detail", *SMALL]
    assert classification.main([*words, "--stage", "report"]) == 0
    expected = store.read(tmp_path / "runs.jsonl")
    words += ["--weights", str(tmp_path / "weights"), "--results", str(tmp_path / "kept.jsonl")]
    assert classification.main(words) == 0
    monkeypatch.setattr(classification, "train", lambda *_: pytest.fail("trained again"))
    assert classification.main([*words, "--stage", "report"]) == 0
    screened, reported = store.read(tmp_path / "kept.jsonl")[:2], store.read(tmp_path / "kept.jsonl")[2:]
    assert [line["images_per_s"] for line in reported] == [line["images_per_s"] for line in screened]
    for line, other in zip(reported, expected, strict=True):
        assert {**line, "images_per_s": 0} == {**other, "images_per_s": 0}
    # Another setting, or other data, is another training.
    with pytest.raises(pytest.fail.Exception):
        classification.main([*words, "--stage", "report", "--set", "size=48"])
    with pytest.raises(pytest.fail.Exception):
        classification.main([*words, "--stage", "report", "--imbalance", "3", "--results", str(tmp_path / "cut.jsonl")])


@pytest.mark.parametrize("arm", ["ours-mixup", "randaugment", "smote"])
def test_the_same_seed_gives_the_same_figures(command, root, arm):
    parse = [*command, "--arms", arm, *SMALL]
    options = classification._parser().parse_args(parse)
    data, measured = classification.load(options)
    artifact = build_artifact()
    (run,) = classification.wanted(options, data, artifact)
    made = []
    for seed in (0, 0, 1):
        torch.rand(3)  # what was drawn before does not matter
        before = torch.random.get_rng_state()
        network, _ = classification.train(run | {"seed": seed}, data, artifact, CPU)
        assert torch.equal(before, torch.random.get_rng_state())
        made.append(classification.probabilities(network, measured, CPU))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
    assert classification.figures(made[0], measured.labels) == classification.figures(made[1], measured.labels)


@pytest.mark.parametrize("classifier", ["resnet34", "dan"])
def test_other_classifiers_and_stage_report(command, tmp_path, classifier):
    words = ["--classifier", classifier, "--stage", "report", "--base", "none", "--arms", "mixup", *SMALL]
    assert classification.main([*command, *words, "batch=28", "precision=bf16"]) == 0
    (line,) = store.read(tmp_path / "runs.jsonl")
    assert (line["classifier"], line["stage"], line["split"]) == (classifier, "report", "test")


def test_the_plan_knows_rates(command, tmp_path, capsys):
    words = [*command, "--arms", "none", "balanced", "ours-detail", "--seeds", "2", *SMALL]
    assert classification.main([*words, "--plan"]) == 0
    assert "6 of 6 runs are missing: 0.0 min on cpu, and 6 of unknown duration" in capsys.readouterr().out
    assert not (tmp_path / "runs.jsonl").exists()
    settings = {"size": 32}
    for arm, rate in (("none", 0.5), ("balanced", 1.0)):
        line = dict.fromkeys((*store.IDENTITY, *store.FIGURES)) | {"arm": arm, "settings": settings}
        line |= {"classifier": "resnet18-half", "device": "cpu", "images_per_s": rate}
        store.append(tmp_path / "runs.jsonl", line)
    assert classification.main([*words, "--plan"]) == 0
    out = capsys.readouterr().out
    # 2 epochs of 28 images: 112 s, 56 s, and at the median of both rates 75 s, for each of two seeds.
    assert [line.split()[-2] for line in out.splitlines()[:3]] == ["1.9", "0.9", "1.2"]
    assert "6 of 6 runs are missing: 8.1 min" in out
    assert classification.main([*words, "--minutes", "0.1"]) == 0
    assert "0.1 minutes are not enough" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--arms", "nonsense"], "unknown arm 'nonsense'; known: none, balanced, randaugment"),
        (["--classifier", "vgg"], "unknown classifier 'vgg'; known: resnet34, resnet18-half, dan"),
        (["--arms", "none", "--set", "strength=1"], "arm 'none' has no setting 'strength'; it has batch,"),
        (["--set", "mode=blur", "--arms", "pooled"], "mode must be one of ('decode', 'detail'), got 'blur'"),
        (["--set", "batch=1.5"], "batch must be a number (int) in [2, inf], got 1.5"),
        (["--set", "p=2", "--arms", "smote"], "p must be a number (float) in [0, 1], got 2"),
        (["--set", "shrinkage=much", "--arms", "pooled"], "shrinkage must be"),
        (["--set", "p_tail=3", "--arms", "pooled"], "p must be in [0, 1], got 3.0"),
        (["--classifier", "dan", "--arms", "isda"], "ISDA is defined for logits that are linear"),
        (["--set", "size=big"], "size must be a number (int) in [16, 1024], got 'big'"),
        (["--epochs", "0"], "--epochs and --seeds must be at least 1, got 0 and 1"),
        (["--imbalance", "0.5"], "the imbalance ratio must be at least 1"),
        (["--train", "nowhere"], "nowhere"),
        (["--checkpoint", "fer2013-48"], "the data has the classes ['angry', 'happy', 'sad'], checkpoint fer2013-48"),
    ],
)
def test_what_cannot_be_is_one_line(command, capsys, words, message):
    assert classification.main([*command, *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_class_missing_in_a_split_is_refused_with_both_lists(command, root, tmp_path, capsys):
    other = write_folder(tmp_path / "two", 3, classes=CLASSES[:2])
    assert classification.main([*command, "--validation", str(other)]) == 2
    assert (
        "train has the classes ['angry', 'happy', 'sad'], validation has ['angry', 'happy']" in capsys.readouterr().err
    )
    assert classification.main([*command[:3], "--stage", "report"]) == 2
    assert "pass --test" in capsys.readouterr().err


def test_a_checkpoint_is_not_measured_on_images_that_it_may_know(root, capsys):
    screen = ["tiny", "--train", str(root / "train"), "--arms"]
    assert classification.main([*screen, "none", "ours-detail"]) == 2
    assert "on which a checkpoint may have been trained; pass --validation" in capsys.readouterr().err


def test_labels_are_matched_by_name(tmp_path):
    data = load_folder(write_folder(tmp_path / "a", 2, classes=["cat", "Dog"]), 1, 32)
    other = load_folder(write_folder(tmp_path / "b", 2, classes=["Cat", "dog"]), 1, 32)
    assert other.classes == ["Cat", "dog"]
    assert data.classes == ["Dog", "cat"]
    assert classification.same_classes(data, other, "test").labels.tolist() == [1, 1, 0, 0]


def test_one_source_for_both_stages_is_halved(command, root):
    words = [f"{root / 'test'}/" if word == str(root / "validation") else word for word in command]
    parse = classification._parser().parse_args
    halves = [classification.load(parse([*words, "--stage", stage]))[1] for stage in ("screen", "report")]
    files = [set(half.files) for half in halves]
    assert [len(half) for half in halves] == [6, 6]
    assert files[0] | files[1] == set(load_folder(root / "test", 1, 32).files)


def test_a_held_out_part_and_an_imbalance(tmp_path):
    train = write_folder(tmp_path / "many", 40)
    options = classification._parser().parse_args(["tiny", "--train", str(train), "--imbalance", "4"])
    data, measured = classification.load(options)
    assert not set(data.files) & set(measured.files)
    assert len(measured) == 12
    assert data.counts()[2] == 10  # a quarter of the largest class, of which 39 or 40 were left


def test_the_cut_is_that_of_the_trainer_whatever_is_left_out(tmp_path):
    train, test = write_folder(tmp_path / "many", 40), write_folder(tmp_path / "few", 2, seed=1)
    expected = cut_to_imbalance(load_folder(train, 1, 48), 10)
    shutil.copy(expected.files[0], test / "angry" / "copy.png")
    words = ["tiny", "--train", str(train), "--test", str(test), "--stage", "report", "--imbalance", "10"]
    data, _ = classification.load(classification._parser().parse_args([*words, "--dedup", "train"]))
    assert data.files == expected.files[1:]


def test_pictures_of_both_parts_are_left_out_of_one(command, root, tmp_path):
    root, shared = shutil.copytree(root, tmp_path / "faces"), root
    command = [word.replace(str(shared), str(root)) for word in command]
    for split, name in (("validation", "happy"), ("test", "sad")):
        shutil.copy(root / "train" / name / "1.png", root / split / name / "copy.png")
    parse = classification._parser().parse_args
    whole, _ = classification.load(parse(command))
    data, _ = classification.load(parse([*command, "--dedup", "train"]))
    left_out = {file.relative_to(root / "train").as_posix() for file in set(whole.files) - set(data.files)}
    assert left_out == {"happy/1.png", "sad/1.png"}  # of both splits, whichever is measured on
    shutil.copytree(root / "train", root / "twice")  # every picture two times, so that a held-out one is in train too
    for file in list((root / "twice").rglob("*.png")):
        shutil.copy(file, file.with_name(f"copy-{file.name}"))
    words = ["tiny", "--train", str(root / "twice"), "--test", str(root / "test"), "--dedup", "train"]
    rest, part = classification.load(parse([*words, *SMALL]))
    pictures = [{file.name.removeprefix("copy-") + file.parent.name for file in one.files} for one in (rest, part)]
    assert pictures[1]
    assert not pictures[0] & pictures[1]
    kept, measured = classification.load(parse([*command, "--dedup", "held-out", "--imbalance", "12"]))
    assert root / "train" / "happy" / "1.png" not in kept.files  # cut off, but a checkpoint may know it
    assert {file.name for file in measured.files} == {f"{number}.png" for number in range(4)}
    for part in ("train", "held-out"):
        assert classification.main([*command, "--arms", "none", "--dedup", part, *SMALL]) == 0
    one, two = store.read(tmp_path / "runs.jsonl")
    assert len(data) == len(whole) - 2
    assert (one["dedup"], one["images"], one["measured"]) == ("train", len(data), 13)
    assert (two["dedup"], two["images"], two["measured"]) == ("held-out", len(whole), 12)


def test_recall_of_images_trained_on(command, root, tmp_path):
    words = [str(root / "train") if word == str(root / "validation") else word for word in command]
    assert classification.main([*words, "--arms", "none", *SMALL]) == 0
    (line,) = store.read(tmp_path / "runs.jsonl")
    assert line["fitted"] == line["recall"]  # fewer than 500 images a class, so all of them
    assert line["measured"] == line["images"]


def test_alarms_of_the_rarest_class(root):
    data = load_folder(root / "train", 1, 32)  # "sad" is the rarest

    class Brightness(torch.nn.Module):
        def forward(self, images):
            bright = (images.mean((1, 2, 3)) > 0).float()
            return torch.stack([torch.full_like(bright, 0.5), torch.zeros_like(bright), bright], 1), None

    measured = replace(data, images=torch.zeros_like(data.images))
    augmented = replace(data, images=torch.zeros_like(data.images))
    measured.images[(data.labels == 2).nonzero().flatten()] = 255
    augmented.images[(data.labels == 0).nonzero().flatten()] = 255
    found = classification.all_figures(Brightness(), data, measured, augmented, CPU)
    assert found["alarms"] == [0.0, 0.5]  # one of the two other classes, of 12 images each
    assert found["recall"] == [1.0, 0.0, 1.0]
    assert "alarms" not in classification.all_figures(Brightness(), data, measured, None, CPU)


def test_all_held_out_images_are_augmented_by_their_class(root):
    data, artifact = load_folder(root / "validation", 1, 32), build_artifact()
    found = classification.all_augmented(data, artifact)
    expected = SemanticAugmentBatch(
        1.0, checkpoint=artifact, classes=data.classes, generator=arms.seeded(0, "augmented"), domain_check=False
    )(data.images, data.labels)[0]
    assert torch.equal(found.images, expected)
    assert torch.equal(found.labels, data.labels)
    assert (found.images != data.images).flatten(1).any(1).all()


def test_figures_against_slow_formulas():
    labels = torch.tensor([0, 1, 2, 2, 1, 0, 0, 2, 0, 1])
    predicted = torch.rand(10, 3).softmax(1)
    found = classification.figures(predicted, labels)
    precisions = []
    for label in range(3):
        ranked = (labels == label)[predicted[:, label].argsort(descending=True)].tolist()
        hits = [sum(ranked[: i + 1]) / (i + 1) for i in range(10) if ranked[i]]
        precisions.append(sum(hits) / len(hits))
    assert found["mAP"] == pytest.approx(sum(precisions) / 3, abs=1e-5)
    right = predicted.argmax(1) == labels
    assert found["accuracy"] == pytest.approx(float(right.float().mean()))
    assert found["recall"] == pytest.approx([float(right[labels == k].float().mean()) for k in range(3)], abs=1e-5)


def test_flip_crop_written_out():
    images = torch.randint(0, 256, (6, 3, 24, 24), dtype=torch.uint8)
    uniform = torch.rand(6, 3)
    uniform[0], uniform[1] = 0.0, 0.999
    found = classification.vary(images, uniform)
    for i in range(6):
        down, right = (int((u * 2 - 1) * 24 / 12 * 1.0 + 100.5) - 100 for u in uniform[i, :2].tolist())
        padded = torch.nn.functional.pad(images[i : i + 1].float(), (2, 2, 2, 2), mode="replicate")[0]
        expected = padded[:, 2 + down : 26 + down, 2 + right : 26 + right].to(torch.uint8)
        assert torch.equal(found[i], expected.flip(2) if uniform[i, 2] < 0.5 else expected)


def test_settings_grade_from_head_to_tail():
    assert graded(0.5, None, [9, 1]) == 0.5
    assert graded(0.5, 0.9, [4, 4]) == 0.5
    assert graded(0.2, 0.8, [1000, 100, 10]) == pytest.approx([0.2, 0.5, 0.8])


@given(st.lists(st.integers(1, 60), min_size=2, max_size=5), st.integers(0, 9))
def test_repeats_are_those_of_a_balanced_epoch(counts, seed):
    labels = torch.repeat_interleave(torch.tensor(counts))
    epoch = BalancedOrder(labels, seed)(0, len(labels))
    for label, share in enumerate(repeated(counts)):
        drawn = epoch[labels[epoch] == label]
        repeats = len(drawn) - len(drawn.unique())
        assert repeats == pytest.approx(share * len(labels) / len(counts), abs=1)  # a class is drawn once more or less


def test_p_of_repeats_is_their_share(root):
    made = context(root, "ours-repeats")
    data, times = made.data, 200
    change, changed = ARMS["ours-repeats"].change(made), torch.zeros(len(made.data))
    for _ in range(times):
        changed += (change(data.images, data.labels, torch.arange(len(data))) != data.images).flatten(1).any(1)
    found = [float(changed[data.labels == label].mean()) / times for label in range(3)]
    assert found[:2] == [0, 0]  # angry and happy: 12 images each, of 28 / 3 draws
    assert found[2] == pytest.approx(1 - 4 / (28 / 3), abs=0.06)  # 800 coins


def test_square_root_order():
    labels = torch.tensor([0] * 100 + [1] * 25 + [2] * 1)
    order = SquareRootOrder(labels, 3)
    epoch = order(0, 126)
    counts = torch.bincount(labels[epoch]).tolist()
    assert counts == [79, 39, 8]  # 126 * (10, 5, 1) / 16
    assert torch.bincount(epoch[labels[epoch] == 1]).max() == 2
    assert torch.equal(order(50, 100), torch.cat([epoch[50:], order(126, 24)]))
    assert torch.equal(SquareRootOrder(labels, 3)(0, 126), epoch)
    assert not torch.equal(SquareRootOrder(labels, 4)(0, 126), epoch)


def context(root, arm, **changed):
    data = load_folder(root / "train", 1, 32)
    artifact = build_artifact()
    settings = arms.resolve(arm, {"size": 32, "precision": "fp32"} | changed, 8, artifact, data)
    return Context(data, settings, 0, CPU, artifact)


@pytest.mark.parametrize("arm", [name for name, arm in ARMS.items() if arm.change])
def test_a_change_is_of_some_images_and_keeps_their_kind(root, arm):
    p = {"randaugment": {}, "ours-repeats": {"p": 1.0}}.get(arm, {"p": 0.5})
    made = context(root, arm, **p)
    indices = torch.arange(len(made.data))
    images = made.data.images.clone()
    change = ARMS[arm].change(made)
    changed = change(images, made.data.labels, indices)
    assert torch.equal(images, made.data.images)
    assert (changed.dtype, changed.shape) == (torch.uint8, images.shape)
    different = (changed != images).flatten(1).any(1)
    assert 0 < different.sum() < len(images) + ("randaugment" in arm)
    assert not torch.equal(change(images, made.data.labels, indices), changed)


@pytest.mark.parametrize("mode", ["decode", "detail"])
def test_smote_arm_is_between_two_latents(root, mode):
    made = context(root, "smote", mode=mode, p=1.0, neighbours=1)
    data, artifact = made.data, made.artifact
    changed = ARMS["smote"].change(made)(data.images, data.labels, torch.arange(len(data)))
    x = data.batch(slice(None))
    mu = artifact.encode(x)
    for i in range(0, len(data), 5):
        same = [j for j in range(len(data)) if j != i and data.labels[j] == data.labels[i]]
        nearest = min(same, key=lambda j: float((mu[j] - mu[i]).norm()))
        # Some u gives the image: the best of many explains it up to its rounding.
        path = mu[i] + torch.linspace(0, 1, 400)[:, None] * (mu[nearest] - mu[i])
        possible = (
            artifact.decode(path) if mode == "decode" else x[i] + artifact.decode(path) - artifact.decode(mu[[i]])
        )
        errors = (possible.clamp(-1, 1) - (changed[i].float() / 127.5 - 1)).abs().amax((1, 2, 3))
        assert errors.min() < 0.03


def test_randaugment_sees_what_ours_makes(root):
    made = context(root, "ours-randaugment", p=0.5)
    batch = (made.data.images, made.data.labels, torch.arange(len(made.data)))
    first = ARMS["ours-detail"].change(made)(*batch)
    assert not torch.equal(first, batch[0])
    expected = ARMS["randaugment"].change(made)(first, *batch[1:])
    assert torch.equal(ARMS["ours-randaugment"].change(made)(*batch), expected)


def test_the_arms_and_what_they_are():
    assert list(ARMS) == [
        "none", "balanced", "randaugment", "mixup", "cutmix", "remix", "isda", "isotropic", "pooled",
        "class-gaussian", "smote", "ours-decode", "ours-detail", "ours-nearest", "ours-repeats", "ours-mixup",
        "ours-randaugment", "ours-natural", "ours-sqrt",
    ]  # fmt: skip
    natural = {name for name, arm in ARMS.items() if arm.settings.get("sampling", "balanced") != "balanced"}
    assert natural == {"none", "ours-natural", "ours-sqrt"}
    assert not ARMS["isda"].augments


@pytest.mark.parametrize("arm", ["isotropic", "pooled", "class-gaussian", "ours-detail"])
def test_latent_arms_written_out(root, arm):
    made = context(root, arm, p=1.0, strength=0.3, mode="decode")
    data, artifact = made.data, made.artifact
    found = ARMS[arm].change(made)(data.images, data.labels, torch.arange(len(data)))
    generator = arms.seeded(0, "semantic")
    torch.randperm(len(data), generator=generator), torch.rand(len(data), generator=generator)  # the coins
    noise = torch.randn(len(data), artifact.network.latent_dim, generator=generator)
    mu, statistics = artifact.encode(data.batch(slice(None))), artifact.statistics
    d = mu.shape[1]
    for i, label in enumerate(data.labels.tolist()):
        sigma = statistics.covariance(label)
        if arm == "isotropic":
            sigma = sigma.trace() / d * torch.eye(d)
        elif arm == "pooled":
            sigma = sum(statistics.count[k] * statistics.covariance(k, None) for k in range(3)) / statistics.count.sum()
        values, vectors = torch.linalg.eigh(sigma.double())
        order = range(d) if arm == "isotropic" else range(d - 1, -1, -1)  # of directions: numbers in r
        step = (vectors * values.sqrt()).float()[:, list(order)]
        if arm == "isotropic":
            step = values.mean().sqrt().float() * torch.eye(d)
        centre = statistics.mean[label].float() if arm == "class-gaussian" else mu[i]
        expected = artifact.decode((centre + 0.3**0.5 * (step @ noise[i]))[None])[0]
        error = (found[i].float() / 127.5 - 1 - expected).abs().max()
        assert error < 0.03, (arm, i, float(error))


def test_a_tail_class_borrows_the_covariance_of_its_neighbours():
    statistics = ClassStatistics(4, 5)
    for label, (n, centre) in enumerate([(200, 0.0), (4, 1.0), (300, 3.0), (50, 9.0)]):
        statistics.update((label + 1) * torch.randn(n, 5) + centre, torch.full((n,), label))
    found = arms.borrowed(statistics, 2)
    own = [statistics.covariance(label, None) for label in range(4)]
    for label, nearest in enumerate([(1, 2), (0, 2), (1, 0), (2, 1)]):
        n = int(statistics.count[label])
        expected = (n * own[label] + 5 * (own[nearest[0]] + own[nearest[1]]) / 2) / (n + 5)
        torch.testing.assert_close(found.covariance(label, None), expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(found.count, statistics.count)
    with pytest.raises(ValueError, match="below the number of classes, 4, got 4"):
        arms.borrowed(statistics, 4)


def test_clean_epochs_and_isda_strength_follow_the_progress(root, monkeypatch):
    made = context(root, "ours-detail")
    assert made.settings["clean_epochs"] == 1  # of 8
    calls, strengths = [], []
    arm = arms.Arm("", {}, change=lambda context: lambda x, y, i: calls.append(len(x)) or x)
    monkeypatch.setitem(ARMS, "ours-detail", arm)
    run = {"arm": "ours-detail", "seed": 0, "epochs": 8, "classifier": "resnet18-half", "base": "none"}
    run["settings"] = dict(made.settings) | {"batch": 14, "lambda0": 0.01}
    original = classification.ISDA.logits
    monkeypatch.setattr(
        classification.ISDA, "logits", lambda self, *args: strengths.append(args[-1]) or original(self, *args)
    )
    classification.train(run, made.data, None, CPU)
    assert calls == [14] * 14  # two steps an epoch
    assert strengths == pytest.approx([0.01 * step / 16 for step in range(16)])


def test_a_loss_that_is_not_finite_is_a_failure_of_its_run_alone(command, tmp_path, capsys, monkeypatch):
    train = classification.train

    def diverging(run, *arguments):
        settings = run["settings"] | ({"learning_rate": 1e9} if run["arm"] == "none" else {})
        return train(run | {"settings": settings}, *arguments)

    monkeypatch.setattr(classification, "train", diverging)
    assert classification.main([*command, "--arms", "none", "balanced", *SMALL, "--epochs", "4"]) == 1
    assert "seed 0, is not finite; lower learning_rate" in capsys.readouterr().err
    assert [line["arm"] for line in store.read(tmp_path / "runs.jsonl")] == ["balanced"]


def test_other_data_of_the_same_name_is_refused(command, root, tmp_path, capsys):
    words = [*command, "--arms", "balanced", *SMALL]
    assert classification.main(words) == 0
    (line,) = store.read(tmp_path / "runs.jsonl")
    assert len(line["alarms"]) == 2, "measured with the checkpoint, though the arm does without"
    assert classification.main([*words, "--validation", str(root / "train")]) == 2
    said = f"trained on {line['images']} and measured on 12 images; here are {line['images']} and {line['images']}"
    assert said in capsys.readouterr().err


def test_a_setting_is_json_or_text():
    assert classification._setting("p=0.5") == ("p", 0.5)
    assert classification._setting("mode=decode") == ("mode", "decode")
    assert json.dumps(classification._setting("p_tail=null")[1]) == "null"
    with pytest.raises(argparse.ArgumentTypeError, match="expected NAME=VALUE"):
        classification._setting("p")
