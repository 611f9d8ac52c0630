import os
import subprocess
import sys
from collections import Counter

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset, TensorDataset
from torchvision.datasets import ImageFolder

from semantic_aug import ClassBalancedSampler
from semantic_aug.sampling import dataset_labels
from tests.forks import launch, run_script

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


# --- Several processes ----------------------------------------------------------------------------------------------

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ACCELERATE = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
SCRIPT = """
import sys, warnings
import torch
import torch.distributed as dist
from accelerate import Accelerator
from lightning.fabric.utilities.distributed import DistributedSamplerWrapper
from torch.utils.data import DataLoader, TensorDataset
from semantic_aug import ClassBalancedSampler, SemanticAugmentBatch, SemanticLoader
from tests.conftest import CLASSES, build_artifact

warnings.simplefilter("error")
labels = torch.arange(48) % 3
data = TensorDataset(torch.rand(48, 1, 32, 32), labels, torch.arange(48))
early = ClassBalancedSampler(labels)
accelerator = Accelerator(cpu=True)
assert accelerator.num_processes == 2
first = accelerator.is_main_process

def check(indices):
    "All images, none of them twice."
    everyone = [None, None]
    dist.all_gather_object(everyone, list(indices))
    seen = sorted(everyone[0] + everyone[1])
    assert seen == list(range(48)), (first, seen)

def refused(loader, words):
    try:
        list(loader)
    except RuntimeError as error:
        assert words in str(error), error
    else:
        raise AssertionError("nothing was raised")

def index(loader):
    return torch.cat([batch[-1] for batch in loader]).tolist()

# Whatever one rank does to its iterators, the ranks stay disjoint and complete.
sampler = ClassBalancedSampler(labels)
loader = DataLoader(data, 4, sampler=sampler, num_workers=1)
for epoch in range(2):
    sampler.set_epoch(epoch)
    for _ in range(1 + 2 * first):
        next(iter(loader))
    check(index(loader))
try:
    list(sampler)
except UserWarning as warning:
    assert "epoch 1 is drawn again; with several processes, call set_epoch" in str(warning)
else:
    raise AssertionError("nothing was said")

# Split twice, split by others, not split at all.
split = DataLoader(data, 4, sampler=ClassBalancedSampler(labels))
refused(accelerator.prepare(split), "accelerate splits the draw of this sampler between the processes a second time")
refused(DistributedSamplerWrapper(split.sampler, 2, int(not first)), "lightning splits the draw")
refused(DataLoader(data, 4, sampler=early), "was made for 1 process(es) and there are 2 now")
check(DistributedSamplerWrapper(ClassBalancedSampler(labels, rank=0, world_size=1), 2, int(not first)))
augment = SemanticAugmentBatch(checkpoint=build_artifact(), classes=CLASSES)
refused(accelerator.prepare(SemanticLoader(DataLoader(data, 4), augment)), "would iterate over all images")
refused(SemanticLoader(DataLoader(data, 4, shuffle=True), augment), "each of 2 processes")

# As documented.
sampler = ClassBalancedSampler(labels, rank=0, world_size=1)
batches = SemanticLoader(accelerator.prepare(DataLoader(data, 4, sampler=sampler)), augment, device="cpu")
drawn = []
for epoch in range(2):
    if first:
        next(iter(batches))
    batches.set_epoch(epoch)
    drawn.append(index(batches))
    check(drawn[-1])
assert drawn[0] != drawn[1]
dist.destroy_process_group()
print("right")
"""


@pytest.fixture
def script(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    return tmp_path / "script.py"


def test_two_processes_share_a_draw_whatever_one_of_them_does(script):
    assert launch(run_script, script, ACCELERATE_USE_CPU="true").count("right") == 2


@pytest.mark.slow  # the script joins in the same way as above
@pytest.mark.parametrize("launcher", [TORCHRUN, ACCELERATE], ids=["torchrun", "accelerate launch"])
def test_they_do_however_they_are_launched(launcher, script):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run([*launcher, script], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.count("right") == 2, done.stderr[-3000:]


TRAINER = """
import sys
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, Dataset
from transformers import Trainer, TrainingArguments
from semantic_aug import ClassBalancedSampler, SemanticAugmentBatch, SemanticLoader
from tests.conftest import CLASSES, build_artifact

class Data(Dataset):
    classes, labels = CLASSES, [index % 3 for index in range(48)]

    def __len__(self):
        return 48

    def __getitem__(self, index):
        return {"pixel_values": torch.full((1, 32, 32), index / 48), "labels": index % 3, "number": index}

class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.seen = torch.nn.Linear(1024, 3), []

    def forward(self, pixel_values, labels, number):
        assert labels.tolist() == [index % 3 for index in number.tolist()]
        self.seen += number.tolist()
        return {"loss": torch.nn.functional.cross_entropy(self.linear(pixel_values.flatten(1)), labels)}

class Sampled(Trainer):
    told = {"rank": 0, "world_size": 1}

    def _get_train_sampler(self, *_):
        return ClassBalancedSampler(Data.labels, **self.told)

class Untold(Sampled):
    told = {}

class Wrapped(Trainer):
    def wrap(self, loader):
        augment = SemanticAugmentBatch(checkpoint=build_artifact(), labels_getter=lambda batch: batch["labels"])
        return SemanticLoader(loader, augment, device="cpu")

    def get_train_dataloader(self):
        return self.wrap(super().get_train_dataloader())

class Own(Wrapped):
    def get_train_dataloader(self):
        return self.wrap(DataLoader(self.train_dataset, 4, sampler=ClassBalancedSampler(Data.labels)))

def train(kind):
    arguments = TrainingArguments(
        sys.argv[1], per_device_train_batch_size=4, num_train_epochs=2, use_cpu=True, report_to=[], save_strategy="no",
        logging_strategy="no", disable_tqdm=True, ddp_find_unused_parameters=False,
    )
    model = Model()
    kind(model=model, args=arguments, train_dataset=Data()).train()
    everyone = [None, None]
    dist.all_gather_object(everyone, model.seen)
    epochs = [[seen[start : start + 24] for seen in everyone] for start in (0, 24)]
    for epoch in epochs:
        assert sorted(epoch[0] + epoch[1]) == list(range(48)), (kind, epoch)
    assert epochs[0] != epochs[1]

for kind in (Sampled, Wrapped, Own):
    train(kind)
try:
    train(Untold)
except RuntimeError as error:
    assert "accelerate splits the draw of this sampler between the processes a second time" in str(error)
    print("right")
dist.destroy_process_group()
"""


@pytest.mark.slow  # the same sampler and loader are tested above, without the Trainer
def test_trainer_of_transformers_shares_a_draw_between_two_processes(tmp_path):
    """All images in every epoch, none of them twice, with their labels, and another draw in the second epoch."""
    pytest.importorskip("transformers", reason="transformers is not installed")
    (tmp_path / "script.py").write_text(TRAINER)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "ignore"}
    command = [*TORCHRUN, str(tmp_path / "script.py"), str(tmp_path / "out")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.count("right") == 2, done.stderr[-3000:]


def test_the_epochs_of_one_process_are_new_draws_even_if_none_is_finished():
    sampler = ClassBalancedSampler(LABELS)
    assert [next(iter(sampler)) for _ in range(20)].count(next(iter(ClassBalancedSampler(LABELS)))) < 20


class Cost(TorchDispatchMode):
    """Counts operations, and the elements of all tensors that they read."""

    operations = read = 0

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        self.operations += 1
        self.read += sum(leaf.numel() for leaf in tree_flatten(arguments)[0] if isinstance(leaf, torch.Tensor))
        return operation(*arguments, **(options or {}))


def test_the_cost_does_not_grow_with_the_number_of_classes():
    labels = torch.arange(8000) % 1000
    with Cost() as cost:
        list(ClassBalancedSampler(labels))
    assert cost.read < 50 * len(labels)  # a search for each class reads 2000 times as many
    assert cost.operations < 100  # a few for each class would be thousands


def test_every_image_of_a_class_is_as_likely():
    sampler = ClassBalancedSampler([0, 0, 1, 0, 0], num_samples=2)
    drawn = Counter(index for _ in range(600) for index in sampler)
    assert drawn[2] == 600
    assert all(100 < drawn[index] < 200 for index in (0, 1, 3, 4))  # 150 on average, 4.7 standard deviations


def test_labels_may_be_names_or_a_pandas_series():
    drawn = list(ClassBalancedSampler(pd.Series(["b", "a", "b", "b"], index=[9, 8, 7, 6])))
    assert drawn.count(1) == 2
