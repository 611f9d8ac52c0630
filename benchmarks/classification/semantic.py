"""Parts that use a checkpoint: ours and its ablations, as users call the product, and SMOTE between latents."""

from dataclasses import replace

import torch
from torch import Tensor

from semantic_aug import SemanticAugmentBatch
from semantic_aug._random import seeded
from semantic_aug.functional import blend, decode_pair, model_input
from semantic_aug.images import tensor_to_unit, unit_to_tensor
from semantic_aug.model.runtime import LatentModel
from semantic_aug.model.statistics import POOLED

from .context import Change, Context, Key
from .smote import neighbours, smote


def semantic(context: Context) -> Change:
    """Our augmentation and its ablations, called as users call them."""
    artifact, settings = context.artifact, context.settings
    assert artifact is not None
    generator = torch.Generator()
    augment = SemanticAugmentBatch(
        settings["p"],
        settings["strength"],
        checkpoint=replace(artifact, recommended=replace(artifact.recommended, shrinkage=settings["shrinkage"])),
        perturbation=settings["perturbation"],
        mode=settings["mode"],
        classes=context.data.classes,
        generator=generator,
        dtype=context.dtype,
    )

    def change(images: Tensor, labels: Tensor, indices: Tensor, key: Key) -> Tensor:
        generator.manual_seed(seeded("semantic", *key).initial_seed())
        # Drawn while the labels are on the CPU, so that a GPU is not waited for.
        return augment.apply((images, labels), augment.draw((images, labels)))[0]

    return change


def latent_smote(context: Context) -> Change:
    """Move an image's latent toward a near one of its class in the whole training set."""
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
