import pytest
import torch
from torch.nn.functional import one_hot

from benchmarks.classification.bases import BASES, class_balanced_weights

COUNTS = torch.tensor([900.0, 90.0, 9.0])


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(12, 3, generator=generator), torch.arange(12) % 3


def test_the_adjusted_loss_is_the_balanced_softmax(batch):
    logits, labels = batch
    found = BASES["logit-adjusted"].loss(COUNTS)(logits, labels, 0.5)
    terms = COUNTS * logits.exp()  # Ren et al. 2020, equation 3
    expected = -(terms / terms.sum(1, keepdim=True)).log()[range(12), labels].mean()
    torch.testing.assert_close(found, expected)


def test_the_weights_are_the_class_balanced_ones():
    beta = 0.9999
    expected = [(1 - beta) / (1 - beta**n) for n in (900, 90, 9)]
    expected = torch.tensor([3 * value / sum(expected) for value in expected])
    torch.testing.assert_close(class_balanced_weights(COUNTS), expected)


def test_the_weights_come_in_the_last_fifth(batch):
    logits, labels = batch
    loss, plain = BASES["drw"].loss(COUNTS), BASES["natural"].loss(COUNTS)
    assert torch.equal(loss(logits, labels, 0.799), plain(logits, labels, 0.799))
    weight = class_balanced_weights(COUNTS)[labels]
    each = -logits.log_softmax(1)[range(12), labels]
    torch.testing.assert_close(loss(logits, labels, 0.8), (weight * each).sum() / weight.sum())


@pytest.mark.parametrize("base", BASES)
def test_a_soft_label_that_is_sure_is_a_label(base, batch):
    logits, labels = batch
    loss = BASES[base].loss(COUNTS)
    soft = one_hot(labels, 3).float()
    assert torch.allclose(loss(logits, soft, 0.0), loss(logits, labels, 0.0))
    # Weighted, a soft label counts with its class's weight, and the mean is over images.
    assert loss(logits, soft, 1.0) > 0


def test_the_orders():
    labels = torch.tensor([0] * 12 + [1] * 3 + [2])
    for base in ("natural", "logit-adjusted", "drw"):
        assert sorted(BASES[base].order(labels, 0)(0, 16).tolist()) == list(range(16))
    drawn = torch.bincount(labels[BASES["balanced"].order(labels, 0)(0, 16)])
    assert drawn.max() - drawn.min() <= 1
    one, other = (BASES["natural"].order(labels, seed)(0, 16) for seed in (0, 1))
    assert not torch.equal(one, other)
