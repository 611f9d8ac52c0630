"""The latent cache: the same augmentation without encoding, and every stale cache refused."""

import os
import pickle

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch.testing import assert_close
from torch.utils.data import DataLoader, Subset, TensorDataset
from torchvision import tv_tensors
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from semantic_aug import SemanticAugment, SemanticAugmentBatch, SemanticLoader
from semantic_aug._io import save_with_digest
from semantic_aug.latents import LatentCache, LatentsError
from semantic_aug.model.recommended import MODES
from semantic_aug.model.runtime import LatentModel
from semantic_aug.perturb import PERTURBATIONS
from tests import contracts
from tests.conftest import CLASSES, build_artifact

ARTIFACT = build_artifact()
N = 12
TO_GREY = v2.Compose([v2.ToImage(), v2.Grayscale(), v2.ToDtype(torch.float32, scale=True)])


@pytest.fixture
def data():
    return TensorDataset(torch.rand(N, 1, 32, 32), torch.arange(N) % 3)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "latents.safetensors"


def wrapper(p=1.0, strength=0.5, **options):
    return SemanticAugmentBatch(p, strength, checkpoint=ARTIFACT, **options)


def both_ways(augment, images, labels, latents):
    """The same draws with and without latents."""
    outs = []
    for known in (None, latents):
        torch.manual_seed(3)
        outs.append(augment(images, labels, latents=known)[0])
    return outs


# --- The same results -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reconstructions", [False, True])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("perturbation", PERTURBATIONS)
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_augmenting_is_the_same(data, path, mode, perturbation, reconstructions, dtype):
    cache = LatentCache.build(path, ARTIFACT, data, reconstructions=reconstructions)
    index = torch.tensor([7, 0, 3, 9, 6, 10])
    images, labels = data[index]
    augment = wrapper(0.7, 0.1, mode=mode, perturbation=perturbation, dtype=dtype)
    plain, cached = both_ways(augment, images, labels, cache[index])
    assert not torch.equal(plain, images)
    difference = (plain - cached).abs()
    if dtype is None:
        assert difference.max() < 1e-3, "float16 reconstructions, no other difference"
    else:
        assert difference.mean() < 0.02
    unchanged = (plain == images).flatten(1).all(1)
    assert torch.equal(cached[unchanged], images[unchanged])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("model", [1, 3])
def test_the_contract_holds(path, mode, model):
    """Images of every kind that the transform takes, each with its own latents."""
    artifact = build_artifact(channels=model)
    augment = SemanticAugment(1.0, 1.0, checkpoint=artifact, mode=mode)
    for size in contracts.SIZES:
        images = list(contracts.single_images(size))
        images = [x for x in images if not isinstance(x, tv_tensors.Video)]
        cache = LatentCache.build(path, artifact, images, reconstructions=True, overwrite=True)
        for i, image in enumerate(images):
            contracts.check_image(lambda x, known=cache[i]: augment(x, 1, latents=known)[0], image)
            torch.manual_seed(1)
            out = contracts.as_tensor(augment(image, 1, latents=cache[i])[0])
            torch.manual_seed(1)
            plain = contracts.as_tensor(augment(image, 1)[0])
            tolerance = 1 if out.dtype == torch.uint8 else 3e-3
            assert_close(out.double(), plain.double(), rtol=0, atol=tolerance)


def test_nothing_is_encoded(data, path, monkeypatch):
    cache = LatentCache.build(path, ARTIFACT, data, reconstructions=True)
    images, labels = data[:]
    augment = wrapper(mode="detail", domain_check=False)
    decoded = []
    monkeypatch.setattr("semantic_aug.model.runtime.LatentModel.encode", lambda *_: pytest.fail("encoded"))
    original = LatentModel.decode
    counting = lambda model, z, labels: (decoded.append(len(z)), original(model, z, labels))[1]  # noqa: E731
    monkeypatch.setattr("semantic_aug.model.runtime.LatentModel.decode", counting)
    augment(images, labels, latents=cache[:])
    augment(images, labels, latents={"mu": cache.mu})
    assert decoded == [N, 2 * N]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["tuple", "dict"])
def test_an_epoch_through_the_loader(data, path, workers, kind):
    samples = data if kind == "tuple" else AsDict(data)
    cache = LatentCache.build(path, ARTIFACT, samples)
    subset = Subset(cache.dataset(samples), [5, 1, 8, 2, 11])
    results = []
    for source, known in ((subset, cache), (Subset(samples, subset.indices), None)):
        loader = DataLoader(source, 2, num_workers=workers)
        augment = wrapper(0.5, generator=torch.Generator().manual_seed(1))
        batches = list(SemanticLoader(loader, augment, device="cpu", latents=known))
        results.append([batch if kind == "tuple" else list(batch.values()) for batch in batches])
    assert [len(batch) for batch in results[0]] == [2, 2, 2], "the indices are taken off again"
    for (a, x), (b, y) in zip(*results, strict=True):
        assert torch.equal(x, y)
        assert_close(a, b, rtol=0, atol=1e-4)
    assert not torch.equal(torch.cat([a for a, _ in results[0]]), data.tensors[0][subset.indices])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_cache_of_a_subset(data, path, workers):
    subset = Subset(data, [5, 1, 8, 2, 11])
    cache = LatentCache.build(path, ARTIFACT, subset)
    asked = []
    augment = wrapper()
    draw = augment.draw
    augment.draw = lambda batch, known: (asked.append(known["mu"]), draw(batch, known))[1]
    loader = DataLoader(cache.dataset(subset), 2, num_workers=workers)
    batches = list(SemanticLoader(loader, augment, device="cpu", latents=cache))
    assert [len(batch) for batch in batches] == [2, 2, 2], "the indices are taken off again"
    assert torch.equal(torch.cat(asked), cache.mu)


def test_an_index_of_the_samples_own_is_not_written_over(data, path):
    class WithIndex(AsDict):
        def __getitem__(self, index):
            return super().__getitem__(index) | {"index": 7}

    cache = LatentCache.build(path, ARTIFACT, WithIndex(data))
    with pytest.raises(ValueError, match=r'"index" of their own, .*; rename it'):
        cache.dataset(WithIndex(data))[0]


class AsDict(torch.utils.data.Dataset):
    classes = CLASSES

    def __init__(self, data):
        self.pairs = data

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        return dict(zip(("image", "label"), self.pairs[index], strict=True))


def test_clean_epochs_and_attributes(data, path):
    cache = LatentCache.build(path, ARTIFACT, AsDict(data))
    indexed = cache.dataset(AsDict(data))
    assert indexed.classes == CLASSES
    assert len(pickle.loads(pickle.dumps(indexed))) == N
    with pytest.raises(AttributeError):
        indexed.nonsense  # noqa: B018
    loader = SemanticLoader(DataLoader(indexed, 4), wrapper(), device="cpu", latents=cache, clean_epochs=1, epochs=1)
    batches = list(loader)
    assert all(set(batch) == {"image", "label"} for batch in batches)
    assert torch.equal(torch.cat([batch["image"] for batch in batches]), data.tensors[0])


# --- The file ---------------------------------------------------------------------------------------------------------


def test_what_is_stored(data, path):
    cache = LatentCache.build(path, ARTIFACT, data, reconstructions=True, batch=5)
    images = data.tensors[0] * 2 - 1
    assert_close(cache.mu, ARTIFACT.encode(images), rtol=0, atol=1e-5)
    assert_close(cache.reconstruction.float(), (ARTIFACT.decode(cache.mu) + 1) / 2, rtol=0, atol=1e-3)
    assert (cache.mu.dtype, cache.reconstruction.dtype) == (torch.float32, torch.float16)
    assert os.listdir(path.parent) == [path.name]
    assert abs(path.stat().st_size - N * (8 * 4 + 32 * 32 * 2)) < 1000
    assert {name: value.shape for name, value in cache[3].items()} == {"mu": (8,), "reconstruction": (1, 32, 32)}
    again = LatentCache.load(path, ARTIFACT, data)
    assert torch.equal(again.mu, cache.mu)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        LatentCache.build(path, ARTIFACT, data)


def test_nothing_random_is_drawn(data, path):
    state = torch.get_rng_state()
    LatentCache.build(path, ARTIFACT, data)
    LatentCache.load(path, ARTIFACT, data)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_failure_leaves_the_old_file(data, path, monkeypatch):
    LatentCache.build(path, ARTIFACT, data)
    before = path.read_bytes()

    def full(tensors, file, metadata):
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("semantic_aug._io.save_file", full)
    with pytest.raises(OSError, match="No space left"):
        LatentCache.build(path, ARTIFACT, data, overwrite=True)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("length", [0, 4, 300, -1])
def test_a_cut_file_is_refused(data, path, length):
    LatentCache.build(path, ARTIFACT, data)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(LatentsError, match="broken or cut off"):
        LatentCache.load(path, ARTIFACT, data)


def test_other_files_are_refused(data, path):
    with pytest.raises(FileNotFoundError, match="semantic-aug encode writes it"):
        LatentCache.load(path, ARTIFACT, data)
    save_file({"mu": torch.zeros(N, 8)}, path)
    with pytest.raises(LatentsError, match="format is None, expected 'semantic-aug-latents/1'"):
        LatentCache.load(path, ARTIFACT, data)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"mu": torch.full((N, 8), torch.nan)}, "tensor 'mu' holds NaN"),
        ({"mu": torch.full((N, 8), 1e20)}, "holds latents beyond 10000"),
        ({"mu": torch.zeros(N, 9)}, r"tensor 'mu' has shape \[12, 9\], expected \['any', 8\]"),
        ({"reconstruction": torch.full((N, 1, 32, 32), torch.nan).half()}, "tensor 'reconstruction' holds NaN"),
        ({"reconstruction": torch.full((N, 1, 32, 32), 2.0).half()}, r"expected a reconstruction in \[0, 1\]"),
        ({"reconstruction": torch.zeros(3, 1, 32, 32).half()}, "for each of 12 latents"),
        ({"reconstruction": torch.zeros(N, 1, 32, 32)}, "tensor 'reconstruction' is F32, expected F16"),
        ({"more": torch.zeros(1)}, "has the unexpected tensor 'more'"),
    ],
)
def test_wrong_numbers_are_refused(data, path, tensors, message):
    """Whole files, so that only the numbers tell."""
    LatentCache.build(path, ARTIFACT, data, reconstructions=True)
    with safe_open(path, "pt") as file:
        kept = {name: file.get_tensor(name) for name in ("mu", "reconstruction")} | tensors
        save_with_digest(kept, path, file.metadata())
    with pytest.raises(LatentsError, match=message):
        LatentCache.load(path, ARTIFACT, data)


def test_a_flipped_bit_in_a_row_that_is_not_probed_is_found(folder, path):
    images = torch.rand(40, 1, 32, 32)
    data = TensorDataset(images, torch.zeros(40))
    LatentCache.build(path, ARTIFACT, data)
    content = bytearray(path.read_bytes())
    content[-8 * 4 - 2] ^= 1  # in the row before the last
    path.write_bytes(content)
    with pytest.raises(LatentsError, match="damaged, its content does not fit its digest"):
        LatentCache.load(path, ARTIFACT, data)


def test_a_file_that_another_process_wrote_meanwhile_stays(data, path, monkeypatch):
    def encode(self, images):
        path.write_bytes(b"another's")
        return torch.zeros(len(images), 8)

    monkeypatch.setattr(type(ARTIFACT), "encode", encode)
    with pytest.raises(FileExistsError, match="another process has written it meanwhile"):
        LatentCache.build(path, ARTIFACT, data)
    assert path.read_bytes() == b"another's"


def test_files_that_change_while_they_are_encoded_are_noticed(folder, path, monkeypatch):
    data = ImageFolder(folder, TO_GREY)
    encode = type(ARTIFACT).encode

    def change(self, images):
        os.utime(folder / "sad" / "3.png", (1, 1))
        return encode(self, images)

    monkeypatch.setattr(type(ARTIFACT), "encode", change)
    with pytest.raises(ValueError, match="have changed while it was encoded; encode it again"):
        LatentCache.build(path, ARTIFACT, data)
    assert not path.exists()


# --- Stale caches -----------------------------------------------------------------------------------------------------


def test_another_artifact_is_refused(data, path):
    cache = LatentCache.build(path, ARTIFACT, data)
    other = build_artifact(classes=["a", "b"])
    with pytest.raises(LatentsError, match="is stale, the latents are of another artifact"):
        LatentCache.load(path, other, data)
    augment = SemanticAugmentBatch(checkpoint=other)
    loader = SemanticLoader(DataLoader(cache.dataset(data), 4), augment, device="cpu", latents=cache)
    with pytest.raises(LatentsError, match="not those of the augmentation's checkpoint"):
        next(iter(loader))


def test_other_images_are_refused(data, path):
    LatentCache.build(path, ARTIFACT, data)
    images, labels = data.tensors
    with pytest.raises(LatentsError, match="of 12 images, the data set has 11"):
        LatentCache.load(path, ARTIFACT, TensorDataset(images[1:], labels[1:]))
    with pytest.raises(LatentsError, match="other images, or in another order"):
        LatentCache.load(path, ARTIFACT, TensorDataset(images.flip(0), labels))
    as_bytes = TensorDataset((images * 255).round().to(torch.uint8), labels)
    assert len(LatentCache.load(path, ARTIFACT, as_bytes)) == N, "the same pixels in another dtype"


def test_files_are_known_by_names_sizes_and_times(folder, path, tmp_path):
    data = ImageFolder(folder, TO_GREY)
    LatentCache.build(path, ARTIFACT, data)
    assert len(LatentCache.load(path, ARTIFACT, ImageFolder(folder, TO_GREY))) == 18
    os.rename(folder, tmp_path / "moved")
    moved = ImageFolder(tmp_path / "moved", TO_GREY)
    assert len(LatentCache.load(path, ARTIFACT, moved)) == 18
    with pytest.raises(LatentsError, match="is stale, other files, or in another order"):
        LatentCache.load(path, ARTIFACT, Subset(moved, range(17, -1, -1)))
    with pytest.raises(LatentsError, match="encoded with files= and is loaded without"):
        LatentCache.load(path, ARTIFACT, [moved[i] for i in range(18)])
    with pytest.raises(ValueError, match="expected one file for each of 18 images, got 2 files"):
        LatentCache.load(path, ARTIFACT, moved, files=["a", "b"])
    os.utime(tmp_path / "moved" / "sad" / "3.png", (1, 1))
    with pytest.raises(LatentsError, match="sizes or times of its files have changed"):
        LatentCache.load(path, ARTIFACT, moved)


def test_changed_and_random_transforms_are_found_out(folder, path):
    plain = ImageFolder(folder, TO_GREY)
    flipped = ImageFolder(folder, v2.Compose([TO_GREY, v2.RandomHorizontalFlip(1.0)]))
    random = ImageFolder(folder, v2.Compose([TO_GREY, v2.RandomHorizontalFlip(0.5)]))
    with pytest.raises(ValueError, match=r"differs from one reading to the next; .* put flips, crops"):
        LatentCache.build(path, ARTIFACT, random)
    LatentCache.build(path, ARTIFACT, plain)
    for data in (flipped, random):
        with pytest.raises(LatentsError, match=r"image \d+ encodes to something else now"):
            LatentCache.load(path, ARTIFACT, data)
    rgb = ImageFolder(folder)  # PIL, RGB: what differs is rounding
    assert len(LatentCache.load(path, ARTIFACT, rgb)) == 18


# --- Misuse -----------------------------------------------------------------------------------------------------------


def test_misuse_is_refused(data, path):
    cache = LatentCache.build(path, ARTIFACT, data)
    images, labels = data[:4]
    for latents, message in (
        ({"mu": torch.zeros(3, 8)}, r"latents\['mu'\] must have shape \(4, 8\), got \(3, 8\)"),
        ({"mu": torch.zeros(4, 8), "reconstruction": torch.zeros(4, 1, 8, 8)}, r"must have shape \(4, 1, 32, 32\)"),
        ({"z": torch.zeros(4, 8)}, r"latents must have 'mu' and may have 'reconstruction', got \['z'\]"),
    ):
        with pytest.raises(ValueError, match=message):
            wrapper()(images, labels, latents=latents)
    augment = SemanticAugment(checkpoint=ARTIFACT)
    with pytest.raises(ValueError, match="one image or one batch"):
        augment(tv_tensors.Video(images), 1, latents={"mu": torch.zeros(8)})
    with pytest.raises(ValueError, match="of 12 images, the data set has 4"):
        cache.dataset(Subset(data, range(4)))
    with pytest.raises(ValueError, match=r"must be the images' indices.*DataLoader\(cache.dataset\(data\)"):
        next(iter(SemanticLoader(DataLoader(data, 4), wrapper(), device="cpu", latents=cache)))
    with pytest.raises(ValueError, match="no images to encode"):
        LatentCache.build(path, ARTIFACT, Subset(data, []), overwrite=True)
    with pytest.raises(ValueError, match="put the transform before Normalize"):
        LatentCache.build(path, ARTIFACT, TensorDataset(images * 4 - 2, labels), overwrite=True)
    with pytest.raises(ValueError, match="expected samples with one image, sample 0 has 0"):
        LatentCache.build(path, ARTIFACT, TensorDataset(labels), overwrite=True)
