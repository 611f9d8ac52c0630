import dataclasses

import pytest
import torch

from semantic_aug.model.networks import PRESETS
from semantic_aug.trainer.config import TrainConfig
from semantic_aug.trainer.noise import StepNoise

CONFIG = TrainConfig(network=PRESETS["tiny"], batch=16)
NAMES = [field.name for field in dataclasses.fields(StepNoise)]


def test_it_depends_on_the_seed_and_the_images_seen_alone():
    noise = StepNoise.draw(CONFIG, 32)
    torch.rand(5)
    again = StepNoise.draw(CONFIG, 32)
    assert all(torch.equal(getattr(noise, name), getattr(again, name)) for name in NAMES)
    for other in (StepNoise.draw(CONFIG, 48), StepNoise.draw(dataclasses.replace(CONFIG, seed=1), 32)):
        assert not any(torch.equal(getattr(noise, name), getattr(other, name)) for name in NAMES)


def test_what_runs_without_draws_and_labels_draw_comes_first():
    """So that such a run computes the same bits as before there were draws and labels."""
    from semantic_aug._random import seeded

    generator, noise = seeded(0, "step", 32), StepNoise.draw(CONFIG, 32)
    assert torch.equal(noise.mirror, torch.rand(8, 2, generator=generator))
    assert torch.equal(noise.latent, torch.randn(8, 2, 8, generator=generator))
    assert torch.equal(noise.prior, torch.randn(8, 8, generator=generator))
    assert torch.equal(noise.shown, torch.rand(8, 4, 5, generator=generator))
    assert torch.equal(noise.scored, torch.rand(8, 2, 5, generator=generator))


@pytest.mark.parametrize("of", [1, 2, 4, 8])
def test_the_shares_of_all_processes_are_the_whole(of):
    noise = StepNoise.draw(CONFIG, 0)
    shares = [noise.share(number, of) for number in range(of)]
    for name in NAMES:
        assert torch.equal(torch.cat([getattr(share, name) for share in shares]), getattr(noise, name))
    assert shares[0].latent.flatten(0, 1).shape == (16 // of, 8)
    assert torch.equal(shares[-1].latent.flatten(0, 1), noise.latent.flatten(0, 1)[-16 // of :])
