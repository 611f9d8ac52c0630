import pytest
import torch
from benchmarks.classification.remix import remix

COUNTS = torch.tensor([900, 300, 100])  # 0 and 1, and 1 and 2, are exactly kappa apart


@pytest.mark.parametrize("share", [0.0, 0.2, 0.49, 0.5, 0.51, 0.8, 1.0])
def test_formula_written_out(share):
    labels = torch.arange(3).repeat_interleave(3)  # every pair of classes
    partner = torch.tensor([0, 3, 6, 1, 4, 7, 2, 5, 8])
    images = torch.rand(9, 1, 4, 4)
    mixed, soft = remix(images, labels, partner, share, COUNTS)
    for i, j in enumerate(partner.tolist()):
        torch.testing.assert_close(mixed[i], share * images[i] + (1 - share) * images[j])
        n_i, n_j = float(COUNTS[labels[i]]), float(COUNTS[labels[j]])
        weight = share
        if n_i / n_j >= 3 and share < 0.5:
            weight = 0.0
        elif n_i / n_j <= 1 / 3 and 1 - share < 0.5:
            weight = 1.0
        expected = torch.zeros(3)
        expected[labels[i]] += weight
        expected[labels[j]] += 1 - weight
        torch.testing.assert_close(soft[i], expected)


def test_the_rare_class_names_the_mixture():
    _, soft = remix(torch.rand(2, 1, 2, 2), torch.tensor([0, 2]), torch.tensor([1, 0]), 0.3, COUNTS)
    assert soft[0].tolist() == [0, 0, 1]
    assert soft[1].tolist() == pytest.approx([0.7, 0, 0.3])
