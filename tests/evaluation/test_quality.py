import dataclasses
import json
import math

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio
from sklearn.metrics import balanced_accuracy_score

from semantic_aug.data.dataset import load_folder
from semantic_aug.evaluation import fid
from semantic_aug.evaluation import quality as module
from semantic_aug.evaluation.lpips import Perceptual
from semantic_aug.evaluation.quality import agreement, count_images, picture, psnr, quality, reconstruction
from semantic_aug.figures import drawing
from tests.conftest import CLASSES, build_artifact, write_folder
from tests.evaluation.test_classifier import build_judge, greys, train_on_greys


@pytest.fixture
def data(folder):
    return load_folder(folder, 1, 32)


@pytest.fixture(autouse=True)
def few_subsets(monkeypatch):
    monkeypatch.setattr(fid, "SUBSETS", 3)


@pytest.fixture
def perceptual(torch_home):
    return Perceptual()


def leaves(tree, path=()):
    if not isinstance(tree, dict):
        return {path: tree}
    return {key: value for name, part in tree.items() for key, value in leaves(part, (*path, name)).items()}


def test_psnr_is_scikit_images():
    x, y = (torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(s)) * 2 - 1 for s in (0, 1))
    expected = [
        peak_signal_noise_ratio(((a + 1) / 2).numpy(), ((b + 1) / 2).numpy(), data_range=1)
        for a, b in zip(x, y, strict=True)
    ]
    assert psnr(x, y).tolist() == pytest.approx(expected, rel=1e-5)
    assert psnr(x, x).tolist() == [100, 100, 100]


def test_agreement_is_scikit_learns():
    labels, predicted = torch.tensor([0, 0, 0, 2, 2, 3]), torch.tensor([0, 0, 3, 2, 0, 3])  # there is no class 1
    figures = agreement(predicted, labels)
    assert figures["accuracy"] == pytest.approx(4 / 6, abs=1e-6)
    assert figures["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, predicted), abs=1e-6)


def test_the_training_loops_keys_stay(artifact, data, perceptual):
    found = reconstruction(artifact, data, perceptual)
    assert list(found) == ["images", "l1_mean", "l1_std", "lpips_mean", "lpips_std"]
    assert list(reconstruction(artifact, data)) == ["images", "l1_mean", "l1_std"]


def test_quality_has_every_figure_of_every_kind_of_image(artifact, data, perceptual):
    counted = []
    options = {"judge": build_judge(), "perceptual": perceptual, "strengths": (0.35, 1), "batch": 7, "compared": 10}
    found = quality(artifact, data, advance=counted.append, **options)
    made = [("reconstruction",), ("sample",), *((mode, s) for mode in ("decode", "detail") for s in ("0.35", "1"))]
    kinds = [("real",), *made]
    expected = {("images",), ("compared",), ("seed",), ("unknown_classes",)}
    expected |= {("judge", name) for name in ("network", "accuracy", "images", "epochs", "seed")}
    expected |= {("reconstruction", f"{a}_{b}") for a in ("l1", "psnr", "lpips") for b in ("mean", "std")}
    expected |= {("diversity", *kind) for kind in made}
    expected |= {("agreement", *kind, name) for kind in kinds for name in ("accuracy", "balanced_accuracy")}
    expected |= {
        ("realism", network, *kind, name)
        for network in ("squeezenet1_1", "judge")
        for kind in kinds
        for name in ("fid", "kid_mean", "kid_std")
    }
    flat = leaves(found)
    assert set(flat) == expected
    assert json.loads(json.dumps(found)) == found
    assert all(math.isfinite(value) for value in flat.values() if isinstance(value, float))
    assert found["images"] == 18
    assert found["unknown_classes"] == []
    assert counted == [7, 7, 4, *[7, 3] * len(kinds)]
    assert sum(counted) == count_images(artifact, data, strengths=(0.35, 1), compared=10)
    for mode in ("decode", "detail"):
        assert 0 < found["diversity"][mode]["0.35"] < found["diversity"][mode]["1"]


def test_it_repeats_with_its_seed_whatever_the_batch(artifact, data, perceptual):
    judge = build_judge()

    def measured(**options):
        return quality(artifact, data, judge=judge, perceptual=perceptual, strengths=(0.5,), **options)

    first = measured()
    assert torch.is_grad_enabled()
    torch.rand(3)
    assert measured() == first
    measured_by_fives = measured(batch=5)
    for name in ("reconstruction", "diversity", "agreement", "realism"):
        assert leaves(measured_by_fives[name]) == pytest.approx(leaves(first[name]), rel=1e-3, abs=1e-3)
    assert measured(seed=1)["diversity"] != first["diversity"]


def test_a_seeded_part_of_many_images_is_compared_and_all_are_reconstructed(artifact, data):
    whole, judge = quality(artifact, data, strengths=()), build_judge()
    part = quality(artifact, data, judge=judge, strengths=(), compared=7)
    assert (part["images"], part["compared"]) == (len(data), 7)
    assert part["reconstruction"] == whole["reconstruction"]
    assert part["agreement"]["real"]["accuracy"] * 7 == pytest.approx(round(part["agreement"]["real"]["accuracy"] * 7))
    assert part == quality(artifact, data, judge=judge, strengths=(), compared=7)


def test_without_a_judge_or_lpips_their_figures_are_left_out(artifact, data, perceptual):
    found = quality(artifact, data, strengths=(0.5,))
    assert set(found) == {"images", "compared", "seed", "unknown_classes", "reconstruction"}
    assert set(found["reconstruction"]) == {"l1_mean", "l1_std", "psnr_mean", "psnr_std"}
    judged = quality(artifact, data, judge=build_judge(), strengths=(0.5,))
    assert set(judged) == {*found, "judge", "agreement", "realism"}
    assert set(judged["realism"]) == {"judge"}
    seen = quality(artifact, data, perceptual=perceptual, strengths=(0.5,))
    assert set(seen) == {*found, "diversity", "realism"}


def test_what_changes_nothing_changes_no_figure(artifact, perceptual):
    """Strength 0: detail is the identity, decode the reconstruction."""
    data = greys(0, size=32)
    judge = train_on_greys(greys(0))  # of smaller images, which it knows as well
    found = quality(artifact, data, judge=judge, perceptual=perceptual, strengths=(0,))
    assert found["agreement"]["real"]["accuracy"] > 0.9
    for figures in (found["agreement"], found["realism"]["judge"], found["realism"]["squeezenet1_1"]):
        assert figures["detail"]["0"] == figures["real"]
        assert figures["decode"]["0"] == figures["reconstruction"] != figures["real"]
    assert {*leaves(found["diversity"]).values()} - {found["diversity"]["sample"]} == {0}


def test_an_untrained_judge_agrees_by_chance(tmp_path, artifact):
    data = load_folder(write_folder(tmp_path / "more", 40), 1, 32)
    figures = quality(artifact, data, judge=build_judge(), strengths=(0.35,))["agreement"]
    for found in leaves(figures).values():
        assert 0.2 < found < 0.5


def test_samples_are_the_artifacts(artifact, data, monkeypatch):
    """The class Gaussian at strength 1 has the mean and the factor that ``Artifact.sample`` draws with."""
    made = []
    real = module.semantic_augment_image

    def spy(images, noise, artifact, labels, **settings):
        result = real(images, noise, artifact, labels, **settings)
        if "perturbation" in settings:
            made.append((noise, labels, result))
        return result

    monkeypatch.setattr(module, "semantic_augment_image", spy)
    quality(artifact, data, judge=build_judge(), strengths=())
    noise, labels, result = made[0]
    means = artifact.statistics.mean.float()[labels]
    factors = artifact.statistics.factors(artifact.recommended.shrinkage)[labels]
    expected = artifact.decode(means + torch.einsum("nij,nj->ni", factors, noise))
    assert (result - (expected + 1) * 127.5).abs().max() < 0.51


def test_classes_are_found_by_name(artifact, data):
    judge = build_judge([name.upper() for name in reversed(CLASSES)])
    order = ["Sad", "Angry", "Happy"]
    shuffled = dataclasses.replace(data, classes=order, labels=torch.tensor([1, 2, 0])[data.labels])
    assert quality(artifact, shuffled, judge=judge, strengths=(1,)) == quality(
        artifact, data, judge=judge, strengths=(1,)
    )


def test_classes_that_the_artifact_lacks(artifact, data, perceptual):
    strange = dataclasses.replace(data, classes=["angry", "joy", "sad"])
    with pytest.raises(ValueError, match=r"unknown classes \['joy'\]"):
        quality(artifact, strange, judge=build_judge())
    found = quality(artifact, strange, perceptual=perceptual, strengths=(1,))
    assert found["unknown_classes"] == ["joy"]
    assert "sample" not in found["diversity"]
    assert found["diversity"]["detail"]["1"] > 0
    with pytest.raises(ValueError, match="the judge knows the classes"):
        quality(artifact, data, judge=build_judge(["angry", "happy", "joy"]))


def test_misuse_is_refused(artifact, data):
    with pytest.raises(ValueError, match=r"4 or more images of shape \(1, 32, 32\), got 3"):
        quality(artifact, data.subset([0, 1, 2]))
    with pytest.raises(ValueError, match=r"\(1, 32, 32\), got 18 of \(3, 32, 32\)"):
        quality(artifact, dataclasses.replace(data, images=data.images.expand(-1, 3, -1, -1)))
    with pytest.raises(ValueError, match=r"at least 0, got \[-1, nan\]"):
        quality(artifact, data, strengths=(0.5, -1, float("nan")))


def test_the_picture_has_a_verdict_below_each_tile(artifact, data):
    judge = build_judge()
    drawn = picture(artifact, data, judge)
    cell = 96 + drawing.GAP
    assert drawn.size == (drawing.MARGIN + 10 * cell, drawing.HEADER + 3 * (cell + drawing.CAPTION))
    assert drawn.tobytes() == picture(artifact, data, judge).tobytes()
    x = data.batch(torch.tensor([0, 6, 12]))
    right = judge.logits(x).argmax(1) == torch.tensor([0, 1, 2])
    for row, good in enumerate(right.tolist()):
        top = drawing.HEADER + row * (cell + drawing.CAPTION) + 96
        below = drawn.crop((drawing.MARGIN, top, drawing.MARGIN + 96, top + drawing.CAPTION))
        reddish = any(colour[0] > colour[1] for _, colour in below.getcolors())
        assert reddish != good


@pytest.mark.gpu
def test_quality_on_a_gpu(data, torch_home):
    on_cpu = quality(build_artifact(), data, judge=build_judge(), perceptual=Perceptual(), strengths=(0.5,))
    on_gpu = quality(
        build_artifact().to("cuda"), data, judge=build_judge(), perceptual=Perceptual().cuda(), strengths=(0.5,)
    )
    assert leaves(on_gpu["reconstruction"]) == pytest.approx(leaves(on_cpu["reconstruction"]), abs=1e-2)
    assert leaves(on_gpu["diversity"]) == pytest.approx(leaves(on_cpu["diversity"]), abs=1e-2)
    assert picture(build_artifact().to("cuda"), data, build_judge()).size[0] > 0
