import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.classification.measure import (
    TAUS,
    adjust,
    describe,
    group_classes,
    measure,
    pack_bits,
    per_class_recall,
    unpack_bits,
)
from semantic_aug.data.dataset import ImageSet

pytest.importorskip("torchmetrics")
COUNTS = [80, 15, 5]
LABELS = torch.tensor([0, 1, 2, 2, 1, 0, 0, 2, 0, 1])


class Fixed(torch.nn.Module):
    """Logits that each image holds in its first pixels."""

    def forward(self, images):
        return 4 * images[:, 0, 0, :3], None


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (10, 1, 4, 4), generator=generator, dtype=torch.uint8)
    return ImageSet(images, LABELS, ["a", "b", "c"], [])


def train_set():
    labels = torch.arange(3).repeat_interleave(torch.tensor(COUNTS))
    images = torch.arange(100).view(-1, 1, 1, 1).expand(100, 1, 4, 4).to(torch.uint8)
    return ImageSet(images, labels, ["a", "b", "c"], [None] * 100)


def test_adjusted_logits_are_those_of_a_balanced_prior():
    logits = torch.randn(50, 3, dtype=torch.float64)
    prior = torch.tensor(COUNTS, dtype=torch.float64) / sum(COUNTS)
    divided = logits.softmax(1) / prior
    torch.testing.assert_close(
        adjust(logits, COUNTS, 1.0).softmax(1), divided / divided.sum(1, keepdim=True), rtol=1e-6, atol=1e-6
    )
    assert torch.equal(adjust(logits, COUNTS, 0.0), logits)


def test_figures_against_slow_formulas(data):
    found = measure(Fixed(), train_set(), data, torch.device("cpu"))
    logits = 4 * data.batch(slice(None))[:, 0, 0, :3].double()
    predicted = logits.softmax(1)
    precisions = []
    for label in range(3):
        ranked = (label == LABELS)[predicted[:, label].argsort(descending=True)].tolist()
        hits = [sum(ranked[: i + 1]) / (i + 1) for i in range(10) if ranked[i]]
        precisions.append(sum(hits) / len(hits))
    assert found["average_precision"] == pytest.approx(precisions, abs=1e-5)
    assert found["mAP"] == pytest.approx(sum(precisions) / 3, abs=1e-5)
    readings = [(found, 0.0), (found["adjusted"], 1.0)]
    for reading, tau in readings:
        scores = logits - tau * torch.tensor([0.8, 0.15, 0.05]).log()
        right = scores.argmax(1) == LABELS
        assert reading["accuracy"] == pytest.approx(float(right.float().mean()))
        recall = [float(right[k == LABELS].float().mean()) for k in range(3)]
        assert reading["recall"] == pytest.approx(recall, abs=1e-5)
        assert [reading[name] for name in ("many", "medium", "few")] == pytest.approx(recall, abs=1e-5)
        assert found["taus"][str(tau)] == [reading["accuracy"], reading["balanced_accuracy"]]
        assert (
            unpack_bits(reading["correct"], 10).tolist() == torch.cat([right[k == LABELS] for k in range(3)]).tolist()
        )
        confidence = scores.softmax(1).amax(1)
        bins, error = (confidence * 15).ceil().clamp(min=1), 0.0
        for number in bins.unique():
            members = bins == number
            error += float((right[members].double().mean() - confidence[members].mean()).abs() * members.sum()) / 10
        assert reading["ece"] == pytest.approx(error, abs=1e-5)
    assert list(found["taus"]) == [str(tau) for tau in TAUS]


def test_recall_of_images_trained_on():
    data = train_set()
    found = measure(Fixed(), data, data, torch.device("cpu"))
    assert found["fitted"] == found["recall"]  # fewer than 500 images a class, so all of them


def test_groups_of_classes():
    assert group_classes([5, 100, 50]) == {"many": [1], "medium": [2], "few": [0]}
    assert group_classes(list(range(10, 0, -1))) == {"many": [0, 1, 2], "medium": [3, 4, 5, 6], "few": [7, 8, 9]}
    found = describe(torch.eye(2).double(), torch.arange(2), [3, 1])
    assert "many" not in found
    assert found["medium"] == 1.0


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_bits_come_back(bits):
    assert unpack_bits(pack_bits(torch.tensor(bits)), len(bits)).tolist() == bits


def test_bits_are_written_from_the_highest_on():
    assert pack_bits(torch.tensor([True, False, False, False, False, False, False, True, True])) == "gYA="


def test_a_class_without_an_image_has_no_recall():
    assert per_class_recall(torch.eye(3), torch.tensor([0, 1, 0]))[2].isnan()
