import pickle

import pytest
import torch
from torch.utils.data import BatchSampler, ConcatDataset, DataLoader, Subset, TensorDataset, default_collate

from semantic_aug import ClassBalancedSampler, SemanticAugmentBatch, SemanticLoader
from semantic_aug.latents import IndexedDataset
from semantic_aug.sampling import dataset_labels
from tests.conftest import CLASSES, build_artifact

ARTIFACT = build_artifact()


def make(n=10, collate=None, augment=None, classes=None, **options):
    data = TensorDataset(torch.rand(n, 1, 32, 32), torch.arange(n) % 3)
    if classes:
        data.classes = classes
    loader = DataLoader(data, batch_size=4, collate_fn=collate)
    augment = augment or SemanticAugmentBatch(1.0, 0.5, checkpoint=ARTIFACT)
    return loader, SemanticLoader(loader, augment, device="cpu", **options)


def as_dict(samples):
    images, labels = default_collate(samples)
    return {"image": images, "label": labels, "names": ["a"] * len(labels)}


@pytest.mark.parametrize("collate", [None, lambda s: tuple(default_collate(s)), as_dict])
def test_batches_keep_their_structure(collate):
    loader, wrapped = make(collate=collate)
    assert len(wrapped) == len(loader) == 3
    for before, after in zip(loader, wrapped, strict=True):
        assert type(after) is type(before)
        if collate is as_dict:
            assert after["names"] == before["names"]
            before, after = ([x["image"], x["label"]] for x in (before, after))
        assert torch.equal(before[1], after[1])
        assert before[0].shape == after[0].shape
        assert not torch.equal(before[0], after[0])


def test_it_equals_the_wrapper_on_the_same_draws():
    loader, wrapped = make()
    torch.manual_seed(3)
    through = [images for images, _ in wrapped]
    torch.manual_seed(3)
    torch.empty((), dtype=torch.int64).random_()  # the DataLoader's own draw, its base seed
    by_hand = [wrapped.augment(images, labels)[0] for images, labels in batches(loader)]
    for a, b in zip(through, by_hand, strict=True):
        assert torch.equal(a, b)


def batches(loader):
    images, labels = loader.dataset.tensors
    return zip(images.split(4), labels.split(4), strict=True)


def test_the_last_epochs_are_clean():
    _, wrapped = make(clean_epochs=2, epochs=5)
    original = wrapped.dataset.tensors[0]

    def changed():
        return not torch.equal(torch.cat([images for images, _ in wrapped]), original)

    assert [changed() for _ in range(6)] == [True, True, True, False, False, False]
    wrapped.set_epoch(2)
    assert [changed() for _ in range(2)] == [True, False]
    with pytest.warns(UserWarning, match=r"not finished, so this is taken to be epoch 4 again; call set_epoch"):
        assert [next(iter(wrapped)) is None, changed()] == [False, False]
    assert wrapped.epoch == 5
    with pytest.raises(ValueError, match=r"clean_epochs must lie in 0\.\.epochs"):
        make(clean_epochs=2)
    with pytest.raises(ValueError, match="epochs=1"):
        make(clean_epochs=2, epochs=1)


def test_attributes_are_handed_through():
    data = TensorDataset(torch.rand(9, 1, 32, 32), torch.arange(9) % 3)
    sampler = ClassBalancedSampler(data.tensors[1])
    loader = DataLoader(data, batch_size=2, sampler=sampler)
    wrapped = SemanticLoader(loader, SemanticAugmentBatch(checkpoint=ARTIFACT), device="cpu")
    for name in ("dataset", "sampler", "batch_sampler", "batch_size", "num_workers"):
        assert getattr(wrapped, name) is getattr(loader, name)
    wrapped.set_epoch(7)
    assert (sampler.epoch, wrapped.epoch) == (7, 7)
    with pytest.raises(AttributeError):
        wrapped.nonsense  # noqa: B018


def test_classes_of_the_data_set_map_labels():
    names = [CLASSES[2], CLASSES[0], CLASSES[1]]
    _, wrapped = make(classes=names)
    assert wrapped.augment.class_indices(torch.tensor([0, 1, 2])).tolist() == [2, 0, 1]
    subset = DataLoader(Subset(wrapped.dataset, [0, 1]))
    assert SemanticLoader(subset, SemanticAugmentBatch(checkpoint=ARTIFACT)).augment.classes == names
    own = SemanticAugmentBatch(checkpoint=ARTIFACT, classes=CLASSES)
    assert make(classes=names, augment=own)[1].augment is own
    with pytest.raises(ValueError, match=r"unknown classes \['x'\]"):
        next(iter(make(classes=["x"])[1]))


def test_classes_behind_subsets_caches_and_parts():
    names = CLASSES[::-1]
    data, other = (make(classes=names)[1].dataset for _ in range(2))
    cut = Subset(data, [0, 1, 2])
    augment = SemanticAugmentBatch(checkpoint=ARTIFACT)
    for dataset in (IndexedDataset(data), IndexedDataset(cut), ConcatDataset([cut, other])):
        assert SemanticLoader(DataLoader(dataset), augment).augment.classes == names
        assert dataset_labels(dataset)[:3].tolist() == [0, 1, 2]
    other.classes = CLASSES
    with pytest.raises(ValueError, match="number their classes differently"):
        SemanticLoader(DataLoader(ConcatDataset([cut, other])), augment)
    data.classes = 3
    with pytest.raises(ValueError, match="classes must be the names of your classes in label order, got 3"):
        SemanticLoader(DataLoader(data), augment)


def test_the_users_generator_goes_on_when_classes_were_mapped():
    generator = torch.Generator().manual_seed(1)
    augment = SemanticAugmentBatch(1.0, checkpoint=ARTIFACT, generator=generator)
    _, first = make(augment=augment, classes=CLASSES)
    second = SemanticLoader(first.loader, augment, device="cpu")
    a, b = (torch.cat([images for images, _ in wrapped]) for wrapped in (first, second))
    assert not torch.equal(a, b)
    generator.manual_seed(1)
    assert torch.equal(torch.cat([images for images, _ in second]), a)


def test_without_clean_epochs_none_is_clean():
    _, wrapped = make(epochs=1)
    original = wrapped.dataset.tensors[0]
    for _ in range(3):
        assert not torch.equal(torch.cat([images for images, _ in wrapped]), original)


def test_samplers_of_batch_samplers_are_told_the_epoch():
    data = make()[1].dataset
    sampler = ClassBalancedSampler(data.tensors[1])
    loader = DataLoader(data, batch_sampler=BatchSampler(sampler, 2, drop_last=False))
    SemanticLoader(loader, SemanticAugmentBatch(checkpoint=ARTIFACT)).set_epoch(5)
    assert sampler.epoch == 5


def test_enabled_still_reaches_it_when_classes_were_mapped():
    augment = SemanticAugmentBatch(1.0, checkpoint=ARTIFACT)
    _, wrapped = make(augment=augment, classes=CLASSES)
    assert wrapped.augment is not augment
    augment.enabled = False
    images, _ = next(iter(wrapped))
    assert torch.equal(images, wrapped.dataset.tensors[0][:4])


def test_any_iterable_and_no_labels():
    images = torch.rand(2, 1, 32, 32)
    wrapped = SemanticLoader([(images, torch.tensor([0, 1]))], SemanticAugmentBatch(1.0, checkpoint=ARTIFACT))
    assert len(list(wrapped)) == 1
    with pytest.raises(ValueError, match="found no labels in the batch"):
        list(SemanticLoader([(images,)], SemanticAugmentBatch(1.0, checkpoint=ARTIFACT)))


def test_it_pickles():
    _, wrapped = make()
    assert len(pickle.loads(pickle.dumps(wrapped))) == 3


class OnTheGPU:
    """Batches of 8 that are made on the GPU, behind work that keeps it busy."""

    def __init__(self, *tensors):
        self.tensors = [tensor.cuda() for tensor in tensors]

    def __len__(self):
        return len(self.tensors[0]) // 8

    def __iter__(self):
        for i in range(len(self)):
            work = torch.rand(4096, 4096, device="cuda")
            for _ in range(20):
                work = work @ work / 4096
            yield [tensor[8 * i : 8 * i + 8] + (0 * work[0, 0]).to(tensor.dtype) for tensor in self.tensors]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("workers", [0, 2, "on the GPU"])
def test_on_a_gpu_batches_are_the_same_and_prefetched(workers):
    images, labels = torch.rand(64, 1, 32, 32), torch.arange(64) % 3
    if workers == "on the GPU":
        loader = OnTheGPU(images, labels)
    else:
        loader = DataLoader(TensorDataset(images, labels), batch_size=8, num_workers=workers, pin_memory=True)
    results = {}
    for device in ("cpu", "cuda"):
        augment = SemanticAugmentBatch(0.5, checkpoint=ARTIFACT, generator=torch.Generator().manual_seed(1))
        results[device] = [(images * 1, labels) for images, labels in SemanticLoader(loader, augment, device=device)]
    for (a, x), (b, y) in zip(results["cpu"], results["cuda"], strict=True):
        assert b.is_cuda
        assert y.is_cuda
        torch.testing.assert_close(a, b.cpu(), rtol=0, atol=1e-3)
        assert torch.equal(x, y.cpu())
