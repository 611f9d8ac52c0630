from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from semantic_aug.model.networks import NO_LABEL, PRESETS, Discriminator, Encoder, Generator, NetworkConfig

CONDITIONAL = replace(PRESETS["tiny"], num_classes=3)
LABELS = torch.tensor([0, 2, NO_LABEL, 1])


def randomized(network):
    """The network with all its parameters drawn anew, for some start at zero."""
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network.eval()


@pytest.mark.parametrize("size", range(32, 257, 16))
@pytest.mark.parametrize("patch_size", [1, 2])
@pytest.mark.parametrize("latent_map", [False, True])
def test_every_size_builds_and_has_the_stated_shapes(size, patch_size, latent_map):
    side = size // patch_size
    while latent_map and side % 2 == 0 and side > 6:
        side //= 2
    config = NetworkConfig(
        image_size=size,
        channels=3,
        latent_dim=side**2 if latent_map else 5,
        latent_map=latent_map,
        width=4,
        max_multiplier=1,
        discriminator_width=2,
        patch_size=patch_size,
    )
    x = torch.rand(2, 3, size, size) * 2 - 1
    mu, logvar = Encoder(config)(x)
    assert mu.shape == logvar.shape == (2, config.latent_dim)
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
    [
        ("channels", 2),
        ("channels", 1.0),
        ("channels", True),
        ("latent_dim", 0),
        ("width", 513),
        ("width", 6),
        ("max_multiplier", 65),
        ("patch_size", 3),
        ("patch_size", 2.0),
        ("num_classes", -1),
        ("num_classes", 1),
        ("num_classes", 65537),
        ("num_classes", True),
        ("latent_map", 1),
    ],
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


def test_a_conditional_generator_starts_as_an_unconditional_one():
    generator, z = Generator(CONDITIONAL).eval(), torch.randn(4, 8)
    assert torch.equal(generator(z, LABELS), generator(z))


def test_a_label_adds_its_embedding_to_the_modulation():
    generator = randomized(Generator(CONDITIONAL))
    norm, x, z = generator.blocks[0].norm1, torch.randn(4, 16, 4, 4), torch.randn(4, 8)
    weight, bias = norm.modulation.weight, norm.modulation.bias
    embedded = torch.stack([torch.zeros(32) if label == NO_LABEL else weight[:, 8 + label] for label in LABELS])
    gain, shift = (z @ weight[:, :8].T + bias + embedded)[:, :, None, None].chunk(2, dim=1)
    assert_close(norm(x, generator._condition(z, LABELS)), norm.norm(x) * (1 + gain) + shift)


def test_no_label_is_the_same_as_none_and_labels_differ():
    generator, z = randomized(Generator(CONDITIONAL)), torch.randn(4, 8)
    images = generator(z, LABELS)
    assert torch.equal(generator(z), generator(z, torch.full((4,), NO_LABEL)))
    assert_close(images[2], generator(z)[2])
    assert all(not torch.equal(images[i], generator(z)[i]) for i in (0, 1, 3))


def test_the_discriminator_projects_its_features_on_the_label():
    """Miyato and Koyama's D(x, y) - D(x) is the product of the features before the head with y's embedding."""
    discriminator, x = randomized(Discriminator(CONDITIONAL)), torch.randn(4, 1, 32, 32)
    features = []
    discriminator.head.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
    difference = discriminator(x, LABELS) - discriminator(x)
    embedding = discriminator.embedding.weight
    zero = torch.zeros(())
    expected = [zero if y == NO_LABEL else h @ embedding[y] for h, y in zip(features[0], LABELS, strict=True)]
    assert_close(difference, torch.stack(expected), rtol=1e-4, atol=1e-4)


def test_an_unconditional_network_looks_at_no_label():
    z, x = torch.randn(4, 8), torch.randn(4, 1, 32, 32)
    generator, discriminator = randomized(Generator(PRESETS["tiny"])), randomized(Discriminator(PRESETS["tiny"]))
    assert torch.equal(generator(z, LABELS), generator(z))
    assert torch.equal(discriminator(x, LABELS), discriminator(x))


@torch.no_grad()
def test_a_value_of_a_map_changes_the_image_around_its_place():
    config = replace(PRESETS["tiny"], image_size=48, latent_map=True, latent_dim=36 * 2)
    generator = randomized(Generator(config))
    for block in generator.blocks:  # these see the whole latent
        for norm in (block.norm1, block.norm2):
            torch.nn.init.zeros_(norm.modulation.weight)
    generator.linear.weight.normal_()
    z = torch.zeros(1, 2, 6, 6)
    z[0, 0, 0, 0] = 1.0
    change = (generator(z.flatten(1)) - generator(torch.zeros(1, 72))).abs()[0, 0]
    assert change[:8, :8].mean() > 10 * change[40:, 40:].mean()


def test_a_map_needs_as_many_values_as_it_has_places():
    with pytest.raises(ValueError, match="latent_dim must be a multiple of 36 for a map of 6 x 6, got 256"):
        NetworkConfig(image_size=48, channels=1, latent_dim=256, latent_map=True)


def test_the_fields_of_an_unconditional_network_are_those_of_format_1():
    assert not {"num_classes", "latent_map"} & PRESETS["tiny"].to_dict().keys()
    assert NetworkConfig(**PRESETS["tiny"].to_dict()) == PRESETS["tiny"]
    assert CONDITIONAL.to_dict()["num_classes"] == 3
