import pytest
import torch

from semantic_aug.trainer.alarms import alarms, spread

HEALTHY = {
    "d_loss": 1.4,
    "d_real": 0.4,
    "d_fake": -0.3,
    "kl": 200.0,
    "kl_weight": 1e-4,
    "prior_spread": 0.9,
    "diversity": 0.6,
}


def test_a_healthy_run_raises_none():
    assert alarms(HEALTHY, 128) == []
    assert alarms({"l1": 0.1, "kl": 200.0}, 128) == []
    assert alarms({"held_out_l1_mean": 0.1}, 128) == []


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ({"d_loss": 0.03}, r"tells every image \(d_loss 0.030\).*diffaugment"),
        ({"d_real": 0.001, "d_fake": 0.002}, r"sees no difference \(scores 0.001 and 0.002\)"),
        ({"kl": 0.5}, r"posterior collapse.*0.5 nats.*lower kl_weight, now 0.0001"),
        ({"prior_spread": 0.2}, r"alike \(spread 0.20"),
        ({"diversity": 0.05}, r"two draws of an image hardly differ \(diversity 0.05\); raise diversity_weight"),
    ],
)
def test_each_sign_has_its_line_and_its_remedy(figures, message):
    (line,) = alarms(HEALTHY | figures, 128)
    import re

    assert re.search(message, line)


def test_spread():
    images = torch.tensor([0.0, 2.0]).reshape(2, 1, 1, 1).expand(2, 1, 4, 4)
    assert spread(images) == 1.0
    assert spread(images[:1].expand(5, -1, -1, -1)) == 0.0
