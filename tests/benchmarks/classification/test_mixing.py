import pytest
import torch

from benchmarks.classification.mixing import paste, remix

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


@pytest.mark.parametrize("share", [0.0, 0.3, 0.75, 1.0])
@pytest.mark.parametrize("centre", [(0.5, 0.5), (0.0, 0.99), (0.2, 0.7)])
def test_a_pasted_box_is_the_foreground_s_and_its_area_is_told(share, centre):
    images, foreground = torch.zeros(3, 2, 20, 24), torch.ones(3, 2, 20, 24)
    mixed, left = paste(images, foreground, share, centre)
    assert torch.equal(images, torch.zeros_like(images))
    pasted = mixed[0, 0].bool()
    assert torch.equal(mixed, pasted.float().expand_as(mixed))
    assert left == pytest.approx(1 - float(pasted.float().mean()))
    rows, columns = pasted.any(1).nonzero().flatten(), pasted.any(0).nonzero().flatten()
    assert pasted.sum() == len(rows) * len(columns)  # a box
    if centre == (0.5, 0.5):  # not cut off, so of the asked area but for whole pixels
        assert left == pytest.approx(share, abs=0.1)
        assert {int(rows[0] + rows[-1] + 1) if len(rows) else 20} == {20}
    assert left >= share - 1e-6
