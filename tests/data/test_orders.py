"""The order in which a training visits images."""

import torch

from semantic_aug.data.orders import BalancedOrder, EndlessOrder


def test_the_order_can_start_anywhere_and_visits_all():
    n = 7
    whole = EndlessOrder(n, seed=3)(0, 40)
    for start in range(0, 30):
        assert torch.equal(EndlessOrder(n, seed=3)(start, 10), whole[start : start + 10])
    for epoch in range(5):
        assert sorted(whole[epoch * n : (epoch + 1) * n].tolist()) == list(range(n))
    assert whole[:n].tolist() != whole[n : 2 * n].tolist()


def test_a_balanced_order_can_start_anywhere():
    labels = torch.tensor([0] * 7 + [1] * 2 + [2] * 1)
    whole = BalancedOrder(labels, seed=3)(0, 60)
    for start in range(50):
        assert torch.equal(BalancedOrder(labels, seed=3)(start, 10), whole[start : start + 10])
    one = BalancedOrder(labels, seed=3)
    assert torch.equal(torch.cat([one(start, 6) for start in range(0, 60, 6)]), whole)
    assert not torch.equal(BalancedOrder(labels, seed=4)(0, 60), whole)


def test_a_balanced_order_shows_every_class_equally_often():
    labels = torch.tensor([0] * 90 + [1] * 7 + [2] * 3)
    order = BalancedOrder(labels, seed=0)
    for epoch in range(3):
        counts = torch.bincount(labels[order(epoch * 100, 100)])
        assert counts.max() - counts.min() <= 1
    times = torch.bincount(order(0, 100), minlength=100)
    for label in range(3):  # within a class every image
        of_class = times[labels == label]
        assert of_class.max() - of_class.min() <= 1
    assert order(0, 100).tolist() != order(100, 100).tolist()
