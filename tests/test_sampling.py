from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset, TensorDataset
from torchvision.datasets import ImageFolder

from semantic_aug import ClassBalancedSampler
from semantic_aug.sampling import dataset_labels

LABELS = torch.tensor([0] * 90 + [1] * 9 + [5] * 1)


@settings(max_examples=50)
@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=40),
    num_samples=st.one_of(st.none(), st.integers(1, 100)),
    world_size=st.integers(1, 5),
    seed=st.integers(0, 3),
    epoch=st.integers(0, 3),
)
def test_ranks_share_one_even_draw(labels, num_samples, world_size, seed, epoch):
    parts = []
    for rank in range(world_size):
        sampler = ClassBalancedSampler(labels, num_samples=num_samples, seed=seed, rank=rank, world_size=world_size)
        sampler.set_epoch(epoch)
        part = list(sampler)
        assert len(part) == len(sampler)
        parts.append(part)
    assert len({len(part) for part in parts}) == 1
    together = [index for position in zip(*parts, strict=True) for index in position]
    whole = ClassBalancedSampler(labels, num_samples=len(together), seed=seed)
    whole.set_epoch(epoch)
    assert list(whole) == together
    wanted = num_samples or len(labels)
    assert wanted <= len(together) < wanted + world_size
    by_class = Counter(labels[index] for index in together)
    if len(together) >= len(set(labels)):
        assert set(by_class) == set(labels)
    assert max(by_class.values()) - min(by_class.get(label, 0) for label in labels) <= 1
    for label in by_class:
        by_image = Counter(index for index in together if labels[index] == label)
        least = min(by_image.get(index, 0) for index, other in enumerate(labels) if other == label)
        assert max(by_image.values()) - least <= 1


def test_class_frequencies_on_20_000():
    labels = LABELS[list(ClassBalancedSampler(LABELS, num_samples=20_000))]
    assert sorted(Counter(labels.tolist()).values()) == [6666, 6667, 6667]


def test_epochs_are_counted_unless_told():
    def sampler():
        return ClassBalancedSampler([0, 0, 0, 0, 1, 1, 2])

    told, counted = sampler(), sampler()
    draws = []
    for epoch in range(4):
        told.set_epoch(epoch)
        draws.append(list(told))
    assert [list(counted) for _ in range(4)] == draws
    assert len({tuple(draw) for draw in draws}) == 4


def test_a_data_set_is_no_labels():
    with pytest.raises(TypeError, match="got a TensorDataset; pass its targets, or semantic_aug"):
        ClassBalancedSampler(TensorDataset(torch.rand(3)))


def test_epochs_and_seeds_differ_and_repeat():
    def draw(seed, epoch):
        sampler = ClassBalancedSampler(LABELS, seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    draws = [draw(seed, epoch) for seed in range(3) for epoch in range(3)]
    assert len({tuple(d) for d in draws}) == 9
    assert draw(1, 2) == draws[5]
    before = torch.get_rng_state()
    draw(0, 0)
    assert torch.equal(before, torch.get_rng_state())


def test_in_a_dataloader():
    data = TensorDataset(torch.arange(100.0), LABELS)
    loader = DataLoader(data, batch_size=10, sampler=ClassBalancedSampler(dataset_labels(data)))
    labels = torch.cat([labels for _, labels in loader])
    assert sorted(Counter(labels.tolist()).values()) == [33, 33, 34]


class Undecodable(Dataset):
    targets = (0, 1, 1, 2)

    def __len__(self):
        return 4

    def __getitem__(self, index):
        raise AssertionError("an image was loaded")


def test_labels_without_decoding(folder):
    data = Undecodable()
    assert dataset_labels(data).tolist() == [0, 1, 1, 2]
    assert dataset_labels(Subset(Subset(data, [3, 1, 0]), [0, 2])).tolist() == [2, 0]
    assert dataset_labels(ConcatDataset([data, Subset(data, [2])])).tolist() == [0, 1, 1, 2, 1]
    assert dataset_labels(Subset(data, [])).tolist() == []
    assert dataset_labels(ImageFolder(str(folder))).tolist() == [0] * 6 + [1] * 6 + [2] * 6
    with pytest.raises(TypeError, match="list has neither targets nor labels"):
        dataset_labels([1, 2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": []}, r"labels must be class indices \(N,\), N >= 1"),
        ({"labels": [0.5, 1.0]}, "labels must be class indices"),
        ({"labels": [[0], [1]]}, "labels must be class indices"),
        ({"labels": [0, 1], "num_samples": 0}, "num_samples must be at least 1"),
        ({"labels": [0, 1], "rank": 2, "world_size": 2}, r"rank must lie in 0\.\.1, got 2"),
    ],
)
def test_misuse_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ClassBalancedSampler(**arguments)
