import gc
import itertools
import math
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import PIL.Image
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close
from torch.utils.data import DataLoader, TensorDataset, default_collate
from torchvision import tv_tensors
from torchvision.transforms import v2

from semantic_aug import LatentModel, SemanticAugmentBatch
from semantic_aug.functional import semantic_augment_image
from semantic_aug.model.recommended import MODES
from semantic_aug.model.runtime import check_dtype
from semantic_aug.perturb import PERTURBATIONS
from tests.conftest import build_artifact

ARTIFACT = build_artifact()


def build_linear_artifact():
    """An artifact whose networks are a linear layer each, which torch.compile is done with in no time."""

    class Encoder(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x.flatten(1)), None

    generator = torch.nn.Sequential(torch.nn.Linear(8, 1024), torch.nn.Tanh(), torch.nn.Unflatten(1, (1, 32, 32)))
    return replace(build_artifact(), encoder=Encoder(1024, 8), generator=generator)


def wrapper(p=1.0, strength=0.5, **options):
    return SemanticAugmentBatch(p, strength, checkpoint=ARTIFACT, **options)


def batch(n=6, dtype=torch.float32):
    images = torch.rand(n, 1, 32, 32)
    return (images * 255).to(torch.uint8) if dtype == torch.uint8 else images.to(dtype), torch.arange(n) % 3


@pytest.mark.parametrize("n", [0, 1, 2, 5])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_every_way_of_calling(n, dtype):
    images, labels = batch(n, dtype)
    augment = wrapper()
    outs = []
    for sample in ((images, labels), [images, labels], {"image": images, "label": labels}):
        torch.manual_seed(1)
        out = augment(sample)
        assert type(out) is type(sample)
        outs.append(tuple(out.values() if isinstance(out, dict) else out))
    torch.manual_seed(1)
    outs.append(augment(images, labels))
    for new_images, new_labels in outs:
        assert new_labels is labels
        assert torch.equal(new_images, outs[0][0])
        assert (new_images.shape, new_images.dtype) == (images.shape, images.dtype)
        assert not n or not torch.equal(new_images, images)


def test_each_image_gets_the_covariance_of_its_class():
    images, labels = batch()
    augment = wrapper()
    torch.manual_seed(1)
    out, _ = augment(images, labels)
    torch.manual_seed(1)
    noise = augment.make_params([images])["noise"]
    assert_close(out, semantic_augment_image(images, noise, LatentModel.of(ARTIFACT), labels, strength=0.5))


def test_soft_labels_count_by_their_largest():
    images, labels = batch()
    soft = torch.nn.functional.one_hot(labels, 3) * 0.7 + 0.1
    torch.manual_seed(1)
    out, returned = wrapper()(images, soft)
    torch.manual_seed(1)
    assert torch.equal(out, wrapper()(images, labels)[0])
    assert returned is soft


@pytest.mark.parametrize("p", [0.0, 0.2, 0.5, 1.0])
def test_the_fraction_augmented_is_p(p):
    n = 20_000
    images = torch.zeros(n, 1, 1, 1)
    augment = wrapper(p)
    coin = augment.make_params([images])["coin"]
    chosen = int((coin < p).sum())
    assert abs(chosen - n * p) <= 4.5 * (n * p * (1 - p)) ** 0.5  # odds of 1 in 150 000
    few, labels = images[:400].expand(-1, 1, 32, 32), torch.arange(400) % 3
    torch.manual_seed(2)
    changed = (augment(few, labels)[0] != few).flatten(1).any(1)
    torch.manual_seed(2)
    assert torch.equal(changed, augment.make_params([few])["coin"] < p)


@given(n=st.integers(1, 300), p=st.floats(0, 1), seed=st.integers(0, 99))
def test_a_batch_has_one_number_of_chosen_images_or_its_neighbour(n, p, seed):
    augment = wrapper(p, generator=torch.Generator().manual_seed(seed))
    coin = augment.make_params([torch.zeros(n, 1, 1, 1)])["coin"]
    assert coin.min() >= 0
    assert coin.max() < 1  # p = 1 means all
    assert math.floor(p * n - 1e-4) <= int((coin < p).sum()) <= math.ceil(p * n + 1e-4)


def test_coins_are_uniform_at_every_place_of_a_batch():
    generator = torch.Generator().manual_seed(0)
    coins = torch.stack(
        [wrapper(generator=generator).make_params([torch.zeros(6, 1, 1, 1)])["coin"] for _ in range(4000)]
    )
    for place in coins.T:
        sorted_coins = place.sort().values
        steps = torch.arange(1, 4001) / 4000
        assert (sorted_coins - steps).abs().max() < 2.2 / 4000**0.5  # Kolmogorov and Smirnov, odds of 1 in 8 000


def test_rank_is_that_of_the_function():
    images, labels = batch()
    augment = wrapper(rank=2)
    params = augment.draw((images, labels))
    out, _ = augment.apply((images, labels), params)
    expected = semantic_augment_image(images, params["noise"], LatentModel.of(ARTIFACT, rank=2), labels, strength=0.5)
    assert_close(out, expected)
    every = semantic_augment_image(images, params["noise"], LatentModel.of(ARTIFACT), labels, strength=0.5)
    assert (out - every).abs().max() > 1e-3
    with pytest.raises(ValueError, match=r"rank must lie in 1\.\.8"):
        wrapper(rank=9)(images, labels)


def test_a_compiler_that_fails_is_an_error_that_names_the_way_out(monkeypatch):
    def fail(graph, inputs):
        raise RuntimeError("no compiler found")

    whole = torch.compile
    monkeypatch.setattr(torch, "compile", lambda *args, **options: whole(*args, **options, backend=fail))
    augment = SemanticAugmentBatch(1.0, checkpoint=build_linear_artifact(), compile=True)
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"torch.compile failed \(.*pass compile=False"):
            augment(*batch())


@pytest.mark.slow
def test_without_a_compiler_it_raises_and_names_the_way_out():
    """The real compiler, in a process that finds no C++ compiler: how it fails is its own affair."""
    program = """
import os
os.environ["PATH"] = os.environ["TORCHINDUCTOR_CACHE_DIR"] = "/nonexistent"
os.environ.pop("CXX", None)
import torch
from semantic_aug import SemanticAugmentBatch
from tests.conftest import build_artifact
images, labels = torch.rand(4, 1, 32, 32), torch.arange(4) % 3
augment = SemanticAugmentBatch(1.0, checkpoint=build_artifact(), compile=True)
for _ in range(2):
    try:
        augment(images, labels)
    except RuntimeError as error:
        assert "compiler" in str(error) and "pass compile=False" in str(error), error
    else:
        raise AssertionError("nothing was raised")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_precision_that_the_gpu_lacks_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "an old GPU")
    with pytest.raises(ValueError, match=r"an old GPU has no torch\.bfloat16; pass torch\.float16"):
        check_dtype(torch.bfloat16, torch.device("cuda"))
    check_dtype(torch.float16, torch.device("cuda"))
    check_dtype(torch.bfloat16, torch.device("cpu"))


def test_many_compiled_wrappers_in_one_process(monkeypatch, no_warnings):
    """torch.compile gives up a function that it compiled for more than 8 settings, so each wrapper has its own.

    The limit is lowered to 1: two wrappers that shared a function would exceed it. ``test_contracts.py`` compiles the
    real networks.
    """
    whole, artifact = torch.compile, build_linear_artifact()
    monkeypatch.setattr(torch, "compile", lambda *args, **options: whole(*args, **options, backend="eager"))
    torch.compiler.reset()
    images, labels = batch()
    with torch._dynamo.config.patch(cache_size_limit=1):
        for mode, perturbation in zip(itertools.cycle(MODES), PERTURBATIONS):
            outs = []
            for compile in (True, False):
                torch.manual_seed(1)
                augment = SemanticAugmentBatch(
                    1.0, 0.5, checkpoint=artifact, mode=mode, perturbation=perturbation, compile=compile
                )
                outs.append(augment(images, labels)[0])
            assert_close(*outs)
    torch.compiler.reset()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_memory_is_flat_over_10_000_batches(dtype):
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    augment, (images, labels) = wrapper(0.5, dtype=dtype), batch(2)
    sizes = []
    for number in range(10_000):
        augment(images, labels)
        if number % 1000 == 999:
            gc.collect()
            sizes.append(resident())
    assert sizes[-1] - sizes[0] < 2, sizes  # megabytes; a leak of one latent a batch would be 5


def test_a_row_does_not_depend_on_the_others():
    images, labels = batch()
    augment = wrapper(0.5)
    params = augment.make_params([images]) | {"labels": labels}
    whole = augment.transform(images, params)
    for i in range(6):
        one = augment.transform(images[i : i + 1], {name: value[i : i + 1] for name, value in params.items()})
        assert_close(one, whole[i : i + 1], rtol=0, atol=1e-4)
        if params["coin"][i] >= 0.5:
            assert torch.equal(whole[i], images[i])


def test_in_collate_fn_and_with_mixup_after_it():
    augment, mixup = wrapper(0.5), v2.MixUp(num_classes=3)
    data = TensorDataset(*batch(12))
    loader = DataLoader(data, batch_size=5, collate_fn=lambda samples: mixup(*augment(default_collate(samples))))
    sizes = [(images.shape, labels.shape) for images, labels in loader]
    assert sizes == [((5, 1, 32, 32), (5, 3)), ((5, 1, 32, 32), (5, 3)), ((2, 1, 32, 32), (2, 3))]


def test_a_users_model_trains():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1024, 3))
    images, labels = wrapper()(*batch())
    torch.nn.functional.cross_entropy(model(images), labels).backward()
    assert model[1].weight.grad.abs().sum() > 0


def test_labels_getter():
    images, labels = batch()
    out = wrapper(labels_getter=second_of_meta)({"x": images, "meta": (0, labels)})
    assert out["meta"][1] is labels
    assert out["x"] is not images
    assert len(pickle.dumps(wrapper(labels_getter=second_of_meta))) > 0


def second_of_meta(sample):
    return sample["meta"][1]


@pytest.mark.parametrize(
    ("sample", "error", "message"),
    [
        ((torch.rand(2, 1, 8, 8),), ValueError, "found no labels in the batch;"),
        ((torch.rand(2, 1, 8, 8), None), ValueError, r"found no labels in the batch;"),
        ((torch.rand(2, 1, 8, 8), torch.tensor([True, False])), TypeError, "labels must be class indices or names"),
        ((torch.ones(2, 1, 8, 8), torch.ones(2, 3)), ValueError, "rows that sum to 1, got sums from 3 to 3"),
        ((torch.rand(2, 8, 8, 3), torch.tensor([0, 1])), ValueError, r"got 8 in shape .*; its channels come last"),
        ((torch.rand(2, 1, 8, 8), torch.rand(2)), ValueError, r"got \(2,\); class indices are integers"),
        ((torch.rand(1, 8, 8), torch.tensor(0)), ValueError, r"expected one batch .*Tensor\(1, 8, 8\)"),
        ((PIL.Image.new("L", (8, 8)), 0), ValueError, "expected one batch .* use SemanticAugment"),
        (([tv_tensors.Image(torch.rand(1, 8, 8))] * 2, torch.tensor([0, 1])), ValueError, "expected one batch"),
        ((torch.tensor([0, 1]),), ValueError, "got no image"),
        (
            (torch.rand(2, 1, 8, 8), torch.tensor([0])),
            ValueError,
            r"expected one label for each image, of shape \(2,\), got labels of \(1,\)",
        ),
        ((torch.rand(2, 1, 8, 8), torch.tensor([[0], [1]])), ValueError, r"got labels of \(2, 1\)"),
        ((torch.rand(2, 1, 8, 8), torch.tensor([0, 3])), ValueError, r"labels must lie in 0\.\.2, got 0\.\.3"),
        ((torch.rand(2, 1, 8, 8), torch.tensor([-1, 0])), ValueError, r"got -1\.\.0"),
        ((torch.rand(2, 1, 8, 8), torch.rand(2, 5)), ValueError, r"soft labels must have shape \(2, 3\)"),
        ((torch.rand(2, 1, 8, 8), tv_tensors.Mask(torch.zeros(8, 8))), TypeError, "boxes, masks and keypoints"),
    ],
)
def test_every_misuse_has_its_message(sample, error, message):
    with pytest.raises(error, match=message):
        wrapper()(*sample)
