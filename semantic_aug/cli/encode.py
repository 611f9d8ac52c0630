"""``semantic-aug encode``: write a data set's latents for ``LatentCache``."""

import argparse

from semantic_aug.cli.options import Add
from semantic_aug.cli.paths import new, writable

SUMMARY = "Encode a data set once, so that augmenting it costs only the decoder (LatentCache)."
EXAMPLE = "encode fer2013-48 faces/train --output latents.safetensors"


def add_options(add: Add) -> None:
    """Describe the verb's options."""
    add("checkpoint")
    add("data")
    add("--output", metavar="FILE", required=True, help="file to write, which must not exist")
    add("--reconstructions", action="store_true", help="also keep the decoded images, which mode detail subtracts")
    add("--device")
    add("--skip-bad")


def run(options: argparse.Namespace) -> None:
    """Write the latents to ``--output``.

    Raises ValueError if an image has no file of its own, because the cache identifies a data set by its files.
    """
    from semantic_aug.cli.data import find, say_skipped
    from semantic_aug.cli.devices import chosen_device
    from semantic_aug.data.cache import stamp
    from semantic_aug.data.dataset import load_data
    from semantic_aug.latents import LatentCache
    from semantic_aug.model.artifact import Artifact

    output = new(writable(options.output))
    device = chosen_device(options.device)
    artifact = Artifact.from_pretrained(options.checkpoint)
    source, network = find(options.data), artifact.network
    before = stamp(source)
    data = load_data(source, network.channels, network.image_size, skip_bad=options.skip_bad)
    say_skipped(data.skipped)
    if not all(path.is_file() for path in data.files):
        raise ValueError(f"{options.data} has no file for each image; call LatentCache.build with your own data set")
    labelled = options.reconstructions and artifact.conditional
    cache = LatentCache.build(
        output,
        artifact.to(device),
        data.images,
        files=data.files,
        reconstructions=options.reconstructions,
        labels=data.with_classes(artifact.classes).labels if labelled else None,
    )
    if stamp(source) != before:
        output.unlink()
        raise RuntimeError(f"{options.data} has changed while it was encoded; encode it again")
    print(f"wrote {output}: {len(cache)} images, {output.stat().st_size / 1e6:.1f} MB")
    print(f'next: load it with LatentCache.load("{output}", augment.artifact, dataset)')
