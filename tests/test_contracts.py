"""``contracts`` over every transform, mode and perturbation, and hypothesis properties of the batch wrapper."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision import tv_tensors

from semantic_aug import LatentModel, SemanticAugment, SemanticAugmentBatch
from semantic_aug.model.recommended import MODES
from semantic_aug.model.statistics import POOLED
from semantic_aug.perturb import NEEDS_LABELS, NEEDS_OTHERS, PERTURBATIONS
from tests import contracts
from tests.conftest import build_artifact
from tests.test_batch import build_linear_artifact

ARTIFACTS = {1: build_artifact(), 3: build_artifact(channels=3)}
ALONE = [name for name in PERTURBATIONS if name not in NEEDS_OTHERS]  # change an image that stands alone
PRECISIONS = [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64]


def per_sample(mode, perturbation, model=1, p=1.0, strength=1.0, **options):
    return SemanticAugment(p, strength, checkpoint=ARTIFACTS[model], mode=mode, perturbation=perturbation, **options)


def per_batch(mode, perturbation, model=1, p=1.0, strength=1.0, **options):
    return SemanticAugmentBatch(
        p, strength, checkpoint=ARTIFACTS[model], mode=mode, perturbation=perturbation, **options
    )


@pytest.mark.parametrize("model", [1, 3])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("perturbation", ALONE)
def test_single_images(mode, perturbation, model):
    augment = per_sample(mode, perturbation, model)
    for size in contracts.SIZES:
        for image in contracts.single_images(size):
            contracts.check_image(lambda x: augment(x, 1)[0], image)
            if perturbation not in NEEDS_LABELS and size == contracts.SIZES[0]:  # no label is the same at any size
                contracts.check_image(augment, image)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("perturbation", PERTURBATIONS)
def test_repeats_leading_dimensions_and_structures(mode, perturbation):
    augment, batched = per_sample(mode, perturbation), per_batch(mode, perturbation)
    images, labels = torch.rand(4, 3, 20, 20), torch.tensor([1, 1, 1, 1])
    contracts.check_repeats(augment, lambda t, x: t(x, labels)[0], images)
    contracts.check_repeats(batched, lambda t, x: t(x, labels)[0], images)
    contracts.check_structures(batched, images, labels)
    if perturbation not in NEEDS_OTHERS:  # which needs company
        contracts.check_leading_dimensions(augment, lambda shape: torch.full(shape, 1))
        contracts.check_structures(augment, tv_tensors.Image(images[0]), 1)
        contracts.check_structures(augment, images, labels)


@pytest.mark.parametrize("perturbation", NEEDS_LABELS)
def test_perturbations_that_need_a_label_say_so(perturbation):
    with pytest.raises(ValueError, match=f"perturbation '{perturbation}' needs a label; call"):
        per_sample("detail", perturbation)(torch.rand(1, 8, 8))


@pytest.mark.parametrize("mode", MODES)
def test_interpolation_without_a_partner_gives_the_image_back(mode):
    images = torch.rand(3, 1, 32, 32)
    out, _ = per_batch(mode, "interpolate")(images, torch.tensor([0, 1, 1]))
    torch.testing.assert_close(out[0], images[0], rtol=0, atol=1e-6)
    assert (out[1:] - images[1:]).abs().amax((1, 2, 3)).min() > 1e-5


@settings(max_examples=80)
@given(
    n=st.integers(0, 5),
    channels=st.sampled_from([1, 3]),
    model=st.sampled_from([1, 3]),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    dtype=st.sampled_from(PRECISIONS),
    mode=st.sampled_from(MODES),
    perturbation=st.sampled_from(sorted(PERTURBATIONS)),
    p=st.floats(0, 1),
    strength=st.floats(0, 10),
    data=st.data(),
)
def test_properties_of_batches(n, channels, model, size, dtype, mode, perturbation, p, strength, data):
    """Shapes and ranges are kept. Images that are not chosen come back bit for bit. Order, company and repetition."""
    images = torch.rand(n, channels, *size)
    images = (images * 255).to(dtype) if dtype == torch.uint8 else images.to(dtype)
    labels = torch.tensor(data.draw(st.lists(st.integers(0, 2), min_size=n, max_size=n)), dtype=torch.int64)
    augment = per_batch(mode, perturbation, model, p, strength)
    params = augment.draw((images, labels))
    before = images.clone()
    out, same_labels = augment.apply((images, labels), params)
    contracts.check_kept(before, images, out, 0)
    assert same_labels is labels
    chosen = params["coin"] < p
    assert torch.equal(out[~chosen], images[~chosen])
    assert torch.equal(augment.apply((images, labels), params)[0], out)
    if perturbation not in NEEDS_OTHERS and n:
        order = torch.tensor(data.draw(st.permutations(range(n))))
        permuted = {name: value[order] for name, value in params.items()}
        again = augment.transform(images[order], permuted)
        tolerance = 1.01 if dtype == torch.uint8 else (1e-2 if dtype in (torch.float16, torch.bfloat16) else 1e-3)
        torch.testing.assert_close(again.double(), out[order].double(), rtol=0, atol=tolerance)
        one = augment.transform(images[:1], {name: value[:1] for name, value in params.items()})
        torch.testing.assert_close(one.double(), out[:1].double(), rtol=0, atol=tolerance)


@pytest.mark.parametrize("form", ["one p", "p per class"])
def test_the_fraction_augmented_on_20_000_images(form):
    n, p = 20_000, [0.1, 0.5, 0.9]
    images, labels = torch.zeros(n, 1, 1, 1), torch.arange(n) % 3
    augment = SemanticAugmentBatch(0.3 if form == "one p" else p, 9.0, checkpoint=build_linear_artifact())
    out, _ = augment(images + 0.5, labels)
    changed = (out != 0.5).flatten(1).any(1)
    for label in range(3):
        expected = 0.3 if form == "one p" else p[label]
        count, of = int(changed[labels == label].sum()), int((labels == label).sum())
        assert abs(count - of * expected) <= 4.5 * (of * expected * (1 - expected)) ** 0.5, label


@pytest.mark.parametrize("transform", [per_sample, per_batch])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_is_close(dtype, transform):
    images, labels = torch.rand(6, 1, 32, 32), torch.arange(6) % 3
    outs = []
    for precision in (None, torch.float32, dtype):
        torch.manual_seed(1)
        outs.append(transform("detail", "covariance", strength=0.1, dtype=precision)(images, labels)[0])
    assert torch.equal(outs[0], outs[1])
    assert outs[2].dtype == torch.float32
    assert 0 < float((outs[2] - outs[0]).abs().mean()) < 0.02
    with pytest.raises(ValueError, match="dtype must be None"):
        transform("detail", "covariance", dtype=torch.int8)


def test_compiled_whole_equals_eager(no_warnings):
    """fullgraph: not one graph break; through dynamo, whose backend here is the eager one."""
    from semantic_aug.functional import semantic_augment_image

    model = LatentModel.of(ARTIFACTS[1])
    torch.compiler.reset()
    compiled = torch.compile(semantic_augment_image, fullgraph=True, dynamic=True, backend="eager")
    for n in (5, 4):  # the graph of the first number of images serves for the other, unless the labels are a view
        labels = torch.tensor([0, 1, 2, POOLED, 1])[:n].clone()
        arguments = torch.rand(n, 3, 20, 24), torch.randn(n, 8), model, labels
        for mode in MODES:
            out = compiled(*arguments, strength=0.5, mode=mode)
            torch.testing.assert_close(out, semantic_augment_image(*arguments, strength=0.5, mode=mode))
    torch.compiler.reset()


@pytest.mark.slow
def test_the_compiled_wrapper_equals_the_eager_one():
    images = torch.rand(8, 1, 32, 32)
    for n in (8, 5, 3):
        labels, outs = torch.arange(n) % 3, []
        for compile in (False, True):
            torch.manual_seed(1)
            outs.append(per_batch("detail", "covariance", p=0.7, compile=compile)(images[:n], labels)[0])
        torch.testing.assert_close(*outs, rtol=0, atol=1e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("perturbation", PERTURBATIONS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_cpu_and_gpu_agree(mode, perturbation, dtype):
    images = torch.rand(8, 3, 40, 40)
    images = (images * 255).to(dtype) if dtype == torch.uint8 else images
    labels = torch.arange(8) % 3
    augment = per_batch(mode, perturbation, p=0.7)
    params = augment.draw((images, labels))
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    on_cpu, _ = augment.apply((images, labels), params)
    on_gpu, gpu_labels = augment.apply((images.cuda(), labels.cuda()), params)
    assert on_gpu.is_cuda
    assert gpu_labels.is_cuda
    atol = 1 if dtype == torch.uint8 else 1e-3
    torch.testing.assert_close(on_gpu.cpu(), on_cpu, rtol=0, atol=atol)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("mode", MODES)
def test_a_gpu_is_not_waited_for(mode):
    images, labels = torch.rand(8, 1, 32, 32, device="cuda"), torch.arange(8) % 3
    augment = per_batch(mode, "covariance", p=0.5, dtype=torch.bfloat16)
    for _ in range(8):  # the weights, the range check and the domain check come first
        params = augment.draw((images, labels))
        augment.apply((images, labels), params)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            out, _ = augment.apply((images, labels), augment.draw((images, labels)))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert not torch.equal(out, images)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_device_moves_there_and_back():
    image = torch.rand(3, 20, 20)
    augment = per_sample("detail", "covariance", device="cuda")
    out = augment(image)
    assert out.device == image.device
    assert not torch.equal(out, image)


# --- Sharpness of detail mode ---------------------------------------------------------------------------------------


def high_frequency_ratio(image, augmented):
    """Energy of the augmented image's difference from its 5 x 5 box blur, luminance, as a ratio to the image's own.

    Over the pixels whose blur saw no value clipped at 0 or 1: clipping removes energy in either mode.
    """
    clipped = ((augmented <= 0) | (augmented >= 1)).any(0)[None, None].float()
    free = torch.nn.functional.max_pool2d(clipped, 5, stride=1) == 0

    def energy(pixels):
        grey = pixels.mean(0)[None, None]
        blurred = torch.nn.functional.avg_pool2d(grey, 5, stride=1)
        return float(((grey[..., 2:-2, 2:-2] - blurred).square() * free).sum())

    return energy(augmented) / energy(image)


@pytest.mark.parametrize("mode", MODES)
def test_detail_keeps_a_224_pixel_image_sharp(mode):
    """With the bundled model and a real photograph; ``decode`` is the control that the filter can tell."""
    from skimage.data import astronaut

    face = torch.from_numpy(astronaut()).permute(2, 0, 1)[:, 0:224, 110:334].float() / 255
    face = 0.15 + 0.7 * face
    augment = SemanticAugment(1.0, 0.35, mode=mode, domain_check=False)
    torch.manual_seed(0)
    draws = [augment(face) for _ in range(40)]
    assert all(float((draw - face).abs().mean()) > 0.01 for draw in draws)
    ratios = torch.tensor([high_frequency_ratio(face, draw) for draw in draws])
    if mode == "detail":
        assert abs(float(ratios.mean()) - 1) < 0.05, ratios
        assert float(((ratios - 1).abs() < 0.05).float().mean()) >= 0.95, ratios
    else:
        assert bool((ratios < 0.5).all()), ratios
