import torch

from benchmarks.classification.smote import neighbours, smote


def test_neighbours_by_sorting_all_distances():
    labels = torch.tensor([0] * 12 + [1] * 3 + [2] * 2 + [3])[torch.randperm(18)]
    latents = torch.randn(18, 4)
    table, count = neighbours(latents, labels, 5)
    for i in range(18):
        others = [j for j in range(18) if j != i and labels[j] == labels[i]]
        others.sort(key=lambda j: float((latents[j] - latents[i]).norm()))
        found = others[:5]
        assert count[i] == len(found)
        assert table[i].tolist() == found + [i] * (5 - len(found))


def test_equal_latents_are_neighbours_and_none_is_its_own():
    table, count = neighbours(torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64), 2)
    assert count.tolist() == [2] * 4
    assert all(i not in row for i, row in enumerate(table.tolist()))


def test_formula_written_out():
    z, candidates = torch.randn(40, 4), torch.randn(40, 5, 4)
    count, uniform = torch.arange(40) % 6, torch.rand(40, 2)
    count[0], uniform[0] = 5, torch.tensor([0.9999999, 0.0])
    moved = smote(z, candidates, count, uniform)
    for i in range(40):
        if count[i] == 0:
            assert torch.equal(moved[i], z[i] + uniform[i, 1] * (candidates[i, 0] - z[i]))
            continue
        j = int(uniform[i, 0] * count[i])
        assert j < count[i]
        torch.testing.assert_close(moved[i], z[i] + uniform[i, 1] * (candidates[i, j] - z[i]))


def test_one_without_neighbours_stays():
    latents, labels = torch.randn(3, 4), torch.tensor([0, 0, 1])
    table, count = neighbours(latents, labels, 5)
    moved = smote(latents, latents[table], count, torch.rand(3, 2))
    assert torch.equal(moved[2], latents[2])
    assert not torch.equal(moved[:2], latents[:2])
