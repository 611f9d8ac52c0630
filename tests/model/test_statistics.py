from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.covariance import OAS
from torch.testing import assert_close

from semantic_aug.model.statistics import POOLED, ClassStatistics

D = 6


def latents(n, seed=0, offset=0.0):
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(D, D, generator=generator, dtype=torch.float64)
    mu = torch.randn(n, D, generator=generator, dtype=torch.float64) @ mix + offset
    return mu, torch.randint(0, 3, (n,), generator=generator)


def build(mu, labels, k=3):
    statistics = ClassStatistics(k, mu.shape[1])
    statistics.update(mu, labels)
    return statistics


def assert_same(a, b):
    assert a.count.tolist() == b.count.tolist()
    assert_close(a.mean, b.mean, rtol=1e-10, atol=1e-12)
    assert_close(a.scatter, b.scatter, rtol=1e-9, atol=1e-9)


@settings(max_examples=30)
@given(cuts=st.lists(st.integers(0, 60), max_size=5), offset=st.sampled_from([0.0, 1e6]))
def test_streaming_equals_numpy_on_the_whole(cuts, offset):
    mu, labels = latents(60, offset=offset)
    statistics = ClassStatistics(3, D)
    bounds = [0, *sorted(cuts), 60]
    for start, stop in pairwise(bounds):
        statistics.update(mu[start:stop], labels[start:stop])
    for label in range(3):
        members = mu[labels == label].numpy()
        assert int(statistics.count[label]) == len(members)
        np.testing.assert_allclose(statistics.mean[label].numpy(), members.mean(0), rtol=1e-12)
        expected = np.cov(members.T, bias=True)
        np.testing.assert_allclose(statistics.covariance(label, None).numpy(), expected, rtol=1e-6, atol=1e-8)


@settings(max_examples=20)
@given(order=st.permutations(range(4)))
def test_merge_in_any_order(order):
    mu, labels = latents(50)
    parts = list(zip(mu.split([20, 0, 1, 29]), labels.split([20, 0, 1, 29]), strict=True))
    merged = ClassStatistics(3, D)
    for index in order:
        merged.merge(build(*parts[index]))
    assert_same(merged, build(mu, labels))


def test_merge_is_associative():
    a, b, c = (build(*latents(20, seed)) for seed in range(3))
    a2, b2, c2 = (build(*latents(20, seed)) for seed in range(3))
    a.merge(b)
    a.merge(c)
    b2.merge(c2)
    a2.merge(b2)
    assert_same(a, a2)


@pytest.mark.parametrize("n", [2, 3, 5, 40, 1000])
def test_oas_equals_scikit_learn(n):
    mu, _ = latents(n, seed=n)
    found = build(mu, torch.zeros(n, dtype=torch.int64), k=1).covariance(0, "oas")
    np.testing.assert_allclose(found.numpy(), OAS().fit(mu.numpy()).covariance_, rtol=1e-9, atol=1e-12)


def test_pooled_is_the_within_class_covariance():
    mu, labels = latents(80)
    statistics = build(mu, labels)
    centred = torch.cat([mu[labels == c] - mu[labels == c].mean(0) for c in range(3)])
    assert_close(statistics.covariance(POOLED), centred.T @ centred / 80)


@pytest.mark.parametrize(("shrinkage", "weight"), [(0.0, 0.0), (0.25, 0.25), (1, 1.0), ("pooled", None)])
def test_shrinkage_toward_the_pooled_covariance(shrinkage, weight):
    statistics = build(*latents(80))
    n = int(statistics.count[1])
    weight = D / (n + D) if weight is None else weight
    expected = (1 - weight) * statistics.covariance(1, None) + weight * statistics.covariance(POOLED)
    assert_close(statistics.covariance(1, shrinkage), expected)


@pytest.mark.parametrize("shrinkage", ["oas", "pooled", 0.3, None])
def test_classes_with_few_images(shrinkage):
    mu, _ = latents(40)
    counts = [0, 1, 2, D - 1, 32]
    labels = torch.repeat_interleave(torch.arange(5), torch.tensor(counts))
    statistics = build(mu, labels, k=5)
    assert statistics.count.tolist() == counts
    for label in (0, 1):
        assert_close(statistics.covariance(label, shrinkage), statistics.covariance(POOLED))
    for label in range(5):
        covariance = statistics.covariance(label, shrinkage)
        assert covariance.isfinite().all()
        factor = statistics.factor(label, shrinkage).double()
        assert_close(factor @ factor.T, covariance, rtol=1e-4, atol=1e-5)
    if shrinkage is not None:
        assert torch.linalg.eigvalsh(statistics.covariance(2, shrinkage))[0] > 0


def test_no_class_with_two_images_is_refused():
    statistics = build(torch.randn(2, D), torch.tensor([0, 2]))
    with pytest.raises(ValueError, match="no class has two images"):
        statistics.factors()


def test_factors_are_ordered_and_those_of_each_class():
    mu, labels = latents(80)
    statistics = build(mu, labels)
    factors = statistics.factors("oas")
    assert factors.shape == (4, D, D)
    assert factors.dtype == torch.float32
    norms = factors.norm(dim=1)
    assert (norms[:, :-1] >= norms[:, 1:] - 1e-5).all()
    for label in (0, 1, 2, POOLED):
        assert torch.equal(factors[label], statistics.factor(label, "oas"))
    statistics.update(mu[:5], labels[:5])
    assert not torch.equal(statistics.factors("oas"), factors)


@pytest.mark.parametrize("label", [0, POOLED])
def test_a_covariance_is_a_copy(label):
    statistics = build(*latents(80))
    statistics.covariance(label, None).zero_()
    assert statistics.covariance(label, None).any()


def test_rank_keeps_the_leading_directions():
    statistics = build(*latents(80))
    assert_close(statistics.factor(0, None, rank=2), statistics.factor(0, None)[:, :2])
    with pytest.raises(ValueError, match=r"rank must lie in 1\.\.6"):
        statistics.factor(0, rank=7)


@pytest.mark.parametrize("label", [0, 2, POOLED])
def test_directions_are_those_of_numpys_singular_values(label):
    statistics = build(*latents(80))
    covariance = statistics.covariance(label, "oas")
    variances, vectors = statistics.directions(label, "oas")
    np.testing.assert_allclose(variances.numpy(), np.linalg.svd(covariance.numpy())[1], rtol=1e-9)
    assert_close(vectors.T @ vectors, torch.eye(D, dtype=torch.float64))
    assert_close(covariance @ vectors, vectors * variances)
    assert_close(statistics.factor(label, "oas").abs().double(), (vectors * variances.sqrt()).abs())


def test_the_sign_of_a_direction_is_fixed(monkeypatch):
    statistics = build(*latents(80))
    _, vectors = statistics.directions(1)
    eigh = torch.linalg.eigh
    flipped = torch.tensor([1, -1, -1, 1, -1, 1])  # as another linear algebra library may have it
    monkeypatch.setattr(torch.linalg, "eigh", lambda matrix: (eigh(matrix)[0], eigh(matrix)[1] * flipped))
    assert torch.equal(statistics.directions(1)[1], vectors)
    assert (vectors.amax(0) > -vectors.amin(0)).all()


def test_directions_of_a_class_with_few_images():
    statistics = build(latents(3)[0], torch.zeros(3, dtype=torch.int64), k=1)
    variances, vectors = statistics.directions(0, None)
    assert (variances >= 0).all()
    assert_close(variances[2:], torch.zeros(D - 2, dtype=torch.float64))
    assert vectors.isfinite().all()


def test_round_trip_through_tensors():
    statistics = build(*latents(80))
    again = ClassStatistics.from_tensors(statistics.to_tensors())
    for label in (0, 1, 2, POOLED):
        assert_close(again.covariance(label), statistics.covariance(label), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("mu", "labels", "message"),
    [
        (torch.zeros(2, D + 1), torch.zeros(2, dtype=torch.int64), r"expected mu \(N, 6\)"),
        (torch.zeros(2, D), torch.zeros(3, dtype=torch.int64), r"labels \(N,\)"),
        (torch.zeros(2, D), torch.tensor([0, 3]), r"labels must lie in 0\.\.2, got 0\.\.3"),
        (torch.zeros(2, D), torch.tensor([-1, 0]), r"got -1\.\.0"),
        (torch.full((2, D), torch.nan), torch.tensor([0, 1]), "finite"),
    ],
)
def test_update_refuses(mu, labels, message):
    with pytest.raises(ValueError, match=message):
        ClassStatistics(3, D).update(mu, labels)


def test_other_misuse_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        ClassStatistics(0, 3)
    with pytest.raises(ValueError, match="cannot merge"):
        ClassStatistics(3, D).merge(ClassStatistics(2, D))
    statistics = build(*latents(80))
    for shrinkage in ("ledoit", 1.5, -0.1):
        with pytest.raises(ValueError, match="shrinkage must be"):
            statistics.covariance(0, shrinkage)
    for of in (statistics.covariance, statistics.factor):
        for label in (3, -2):
            with pytest.raises(ValueError, match="label must lie in"):
                of(label)
