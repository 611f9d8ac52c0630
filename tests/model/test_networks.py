import pytest
import torch

from semantic_aug.model.networks import PRESETS, Discriminator, Encoder, Generator, NetworkConfig


@pytest.mark.parametrize("size", range(32, 257, 16))
@pytest.mark.parametrize("patch_size", [1, 2])
def test_every_size_builds_and_has_the_stated_shapes(size, patch_size):
    config = NetworkConfig(
        image_size=size,
        channels=3,
        latent_dim=5,
        width=4,
        max_multiplier=1,
        discriminator_width=2,
        patch_size=patch_size,
    )
    x = torch.rand(2, 3, size, size) * 2 - 1
    mu, logvar = Encoder(config)(x)
    assert mu.shape == logvar.shape == (2, 5)
    images = Generator(config)(mu)
    assert images.shape == x.shape
    assert images.abs().max() <= 1
    assert Discriminator(config)(x).shape == (2,)
    assert 3 <= config.lowest_size <= 15


@pytest.mark.parametrize("name", PRESETS)
def test_presets_build(name):
    config = PRESETS[name]
    with torch.device("meta"):
        x = torch.empty(2, config.channels, config.image_size, config.image_size)
        assert Generator(config)(Encoder(config)(x)[0]).shape == x.shape


@pytest.mark.parametrize("size", [16, 33, 40, 100, 272, 0, -48, 48.0, True, "48"])
def test_wrong_sizes_are_refused_with_what_to_do(size):
    with pytest.raises(ValueError, match="image_size must be"):
        NetworkConfig(image_size=size, channels=1)


def test_the_nearest_size_is_named():
    with pytest.raises(ValueError, match=r"got 100; 96 is the nearest"):
        NetworkConfig(image_size=100, channels=3)


@pytest.mark.parametrize(
    ("field", "value"),
    [("channels", 2), ("latent_dim", 0), ("width", 513), ("width", 6), ("max_multiplier", 65), ("patch_size", 3)],
)
def test_other_wrong_fields_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        NetworkConfig(**({"image_size": 48, "channels": 1} | {field: value}))


def test_an_image_does_not_depend_on_its_batch_in_eval_mode(artifact):
    z = torch.randn(4, artifact.network.latent_dim)
    torch.testing.assert_close(artifact.decode(z)[1:2], artifact.decode(z[1:2]))


def test_the_latent_reaches_every_block():
    generator = Generator(PRESETS["tiny"])
    for parameter in generator.parameters():  # some start at zero
        torch.nn.init.normal_(parameter)
    z = torch.randn(2, 8)
    generator(z).square().sum().backward()
    for name, parameter in generator.named_parameters():
        assert parameter.grad is not None, name
        if "modulation" in name:
            assert parameter.grad.abs().sum() > 0, name
