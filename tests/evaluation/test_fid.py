import numpy as np
import pytest
import torch
from torch.testing import assert_close

from semantic_aug.evaluation import fid
from semantic_aug.evaluation.lpips import Perceptual

ROUNDING = 1e-13  # float64's 2.2e-16 in some hundred operations, as a share of the variance that they add up


def features(n, f=6, shift=0.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(f, f, generator=torch.Generator().manual_seed(9))
    return torch.randn(n, f, generator=generator) @ mix + shift


def test_fid_against_scipys_square_root_of_a_matrix():
    from scipy.linalg import sqrtm

    x, y = features(50), features(53, shift=0.3, seed=1) * 1.2
    a, b = x.double().numpy(), y.double().numpy()
    c, d = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(c + d - 2 * sqrtm(c @ d).real)
    assert float(fid.fid(x, y)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("n", [50, 4])  # 4 images in 6 dimensions: singular covariances
@pytest.mark.parametrize(("stretch", "shift"), [(1.0, 0.0), (1.0, 2.0), (1.2, 0.0), (0.5, 2.0)])
def test_fid_of_a_stretch_and_a_shift(n, stretch, shift):
    """Of x with mean 0 and s x + t it is (1 - s)^2 tr C + |t|^2, so 0 of x and itself, but for rounding."""
    x = features(n).double()
    x = x - x.mean(0)
    spread = float(x.T.cov().trace())
    expected = (1 - stretch) ** 2 * spread + 6 * shift**2
    assert float(fid.fid(x, stretch * x + shift)) == pytest.approx(expected, rel=0, abs=ROUNDING * spread)


def test_fid_of_features_that_share_no_direction():
    """C1 C2 is 0, so it is |m1 - m2|^2 + tr C1 + tr C2; all three covariances are singular."""
    x, y = features(50).double(), features(50, shift=1.0, seed=1).double()
    x[:, 3:] = y[:, :3] = 0
    expected = float((x.mean(0) - y.mean(0)).square().sum() + x.var(0).sum() + y.var(0).sum())
    assert float(fid.fid(x, y)) == pytest.approx(expected, rel=ROUNDING)


def test_kid_against_a_plain_double_loop():
    x, y = features(9).double(), features(7, shift=0.5, seed=1).double()

    def mean(a, b, distinct):
        values = [
            (float(p @ q) / 6 + 1) ** 3 for i, p in enumerate(a) for j, q in enumerate(b) if i != j or not distinct
        ]
        return sum(values) / len(values)

    expected = mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, False)
    assert float(fid.kid(x, y)) == pytest.approx(expected, rel=1e-9)


def test_kid_is_unbiased():
    """Over many draws of few images from one distribution its mean is 0."""
    kids = torch.stack([fid.kid(features(5, seed=2 * i), features(5, seed=2 * i + 1)) for i in range(2000)])
    assert abs(float(kids.mean())) < 4 * float(kids.std()) / 2000**0.5


def test_distances_of_real_images_among_themselves_and_of_others(monkeypatch):
    monkeypatch.setattr(fid, "SUBSETS", 10)
    real = features(400)
    among = fid.distances(real, real, seed=0)
    assert set(among) == {"fid", "kid_mean", "kid_std"}
    assert abs(among["kid_mean"]) < 4 * among["kid_std"]
    others = fid.distances(real, features(400, shift=1.0, seed=1), seed=0)
    assert others["kid_mean"] > 4 * among["kid_std"]
    assert others["fid"] > 3 * among["fid"] > 0
    assert among == fid.distances(real, real, seed=0)
    assert among != fid.distances(real, real, seed=1)


def test_an_image_never_meets_what_was_made_of_it(monkeypatch):
    """Row i of both sides says i: the two sides of every comparison share no row."""
    sides = []
    monkeypatch.setattr(fid, "kid", lambda x, y: sides.append((x, y)) or torch.zeros(()))
    monkeypatch.setattr(fid, "fid", lambda x, y: sides.append((x, y)) or torch.zeros(()))
    rows = torch.arange(11.0)[:, None]
    fid.distances(rows, rows, seed=0)
    assert len(sides) == fid.SUBSETS + 1
    for x, y in sides:
        assert len(x) == len(y) == 5
        assert len(torch.cat([x, y]).unique()) == 10


def test_too_few_images_are_refused():
    with pytest.raises(ValueError, match="4 or more images"):
        fid.distances(features(3), features(3), seed=0)
    with pytest.raises(ValueError, match=r"\(8, 6\) real ones, \(7, 6\) generated"):
        fid.distances(features(8), features(7), seed=0)


def test_features_of_the_trunk_of_lpips(torch_home):
    from torchvision.models import squeezenet1_1

    perceptual = Perceptual()
    assert fid.trunk_name(perceptual) == "squeezenet1_1"
    x = torch.rand(2, 1, 48, 48) * 2 - 1
    network = squeezenet1_1(weights=None)
    weights = torch_home / "hub" / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"
    network.load_state_dict(torch.load(weights, weights_only=True))
    scaled = perceptual.metric.scaling_layer(x.expand(-1, 3, -1, -1))
    expected = network.eval().features(scaled).mean((2, 3))
    assert_close(fid.trunk_features(perceptual, x), expected)
    assert expected.shape == (2, 512)
