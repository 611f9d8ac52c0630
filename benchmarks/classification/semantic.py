"""Parts that use a checkpoint: ours, its ablations, and SMOTE between latents."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from semantic_aug import SemanticAugmentBatch
from semantic_aug._random import seeded
from semantic_aug.functional import blend, decode_pair, model_input
from semantic_aug.images import tensor_to_unit, unit_to_tensor
from semantic_aug.labels import label_table
from semantic_aug.latents import LatentCache
from semantic_aug.model.runtime import LatentModel
from semantic_aug.model.statistics import POOLED

from .context import Change, Context, Key
from .digest import digest
from .smote import neighbours, smote

DRAWN = 256  # images augmented at a time when all images are augmented


def semantic(context: Context) -> Change:
    """Make the change of ours or one of its ablations.

    It calls ``SemanticAugmentBatch`` as users do, with the latents of the training images in a cache. If the setting
    ``redraw`` is 0, each step chooses images with probability p and augments them. Otherwise all images are
    augmented in advance, and again every ``redraw`` epochs. Each step then uses the augmented version of an image with
    probability p. This saves most of the decoding.
    """
    artifact, settings, images = context.artifact, context.settings, context.data.images
    assert artifact is not None
    cache, generator = open_latents(context), torch.Generator()
    augment = SemanticAugmentBatch(
        settings["p"] if settings["redraw"] == 0 else 1.0,
        settings["strength"],
        checkpoint=replace(artifact, recommended=replace(artifact.recommended, shrinkage=settings["shrinkage"])),
        perturbation=settings["perturbation"],
        mode=settings["mode"],
        classes=context.data.classes,
        generator=generator,
        dtype=context.dtype,
    )

    def draw(images: Tensor, labels: Tensor, indices: Tensor, key: Key) -> Tensor:
        generator.manual_seed(seeded("semantic", *key).initial_seed())
        sample = (images, labels)
        # Draw while the labels are on the CPU, so that there is no need to wait for a GPU.
        return augment.apply(sample, augment.draw(sample, cache[indices]))[0]

    def draw_all(key: Key) -> Tensor:
        parts = torch.arange(len(images)).split(DRAWN)
        drawn = [
            draw(images[part].to(context.device), context.data.labels[part], part, (*key, "all", int(part[0])))
            for part in parts
        ]
        return torch.cat(drawn)

    pool: dict[int | str, tuple[int, Tensor]] = {}  # view => number of the draw, and the images that it made

    def change(images: Tensor, labels: Tensor, indices: Tensor, key: Key) -> Tensor:
        if settings["redraw"] == 0:
            return draw(images, labels, indices, key)
        seed, step, view = key[:3]
        number = step * settings["batch"] // (len(context.data) * settings["redraw"])
        if view not in pool or pool[view][0] != number:
            pool[view] = (number, draw_all((seed, number, view)))
        chosen = torch.rand(len(images), generator=seeded("semantic coin", *key)) < settings["p"]
        made = pool[view][1][indices.to(context.device)]
        return torch.where(chosen.to(context.device)[:, None, None, None], made, images)

    return change


def open_latents(context: Context) -> LatentCache:
    """Return latents and reconstructions of the training images. They are computed if they are not in the cache yet.

    Raises LatentsError for a broken file, and for a file of other images or another checkpoint.
    """
    artifact, data = context.artifact, context.data
    assert artifact is not None
    with TemporaryDirectory() as temporary:
        directory = context.cache or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"latents-{artifact.fingerprint[:12]}-{digest(data)}.safetensors"
        if path.is_file():
            return LatentCache.load(path, artifact, data.images)
        labels = label_table(data.classes, artifact.classes)[data.labels]
        return LatentCache.build(path, artifact.to(context.device), data.images, reconstructions=True, labels=labels)


def latent_smote(context: Context) -> Change:
    """Make the change of SMOTE, which moves a latent toward a near latent of its class in the whole training set."""
    artifact, settings = context.artifact, context.settings
    assert artifact is not None
    model = LatentModel.of(artifact, context.device, context.dtype)

    def encode(images: Tensor) -> Tensor:
        return model.encode(model_input(tensor_to_unit(images.to(context.device)), model.network))

    latents = torch.cat([encode(part) for part in context.data.images.split(512)])
    table, count = neighbours(latents, context.data.labels.to(context.device), settings["neighbours"])

    def change(images: Tensor, labels: Tensor, indices: Tensor, key: Key) -> Tensor:
        generator = seeded("smote", *key)
        coin, uniform = torch.rand(len(images), generator=generator), torch.rand(len(images), 2, generator=generator)
        chosen = (coin < settings["p"]).nonzero().flatten()
        if not len(chosen):
            return images
        uniform = uniform[chosen].to(context.device, non_blocking=True)
        source = indices[chosen].to(context.device, non_blocking=True)
        chosen = chosen.to(context.device, non_blocking=True)
        z, unit = latents[source], tensor_to_unit(images[chosen])
        moved = smote(z, latents[table[source]], count[source], uniform)
        unknown = torch.full((len(z),), POOLED, device=z.device)
        before, after = decode_pair(z, moved, unknown, model, settings["mode"])
        out = images.clone()
        out[chosen] = unit_to_tensor(blend(unit, before, after), images.dtype)
        return out

    return change
