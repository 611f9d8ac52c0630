"""Parts that use a checkpoint: ours and its ablations, as users call the product, and SMOTE between latents."""

from dataclasses import replace

import torch
from torch import Tensor

from semantic_aug import SemanticAugmentBatch
from semantic_aug.functional import blend, decoded, model_input
from semantic_aug.images import tensor_to_unit, unit_to_tensor
from semantic_aug.sampling import seeded

from .context import Change, Context, Key
from .smote import neighbours, smote


def semantic(context: Context) -> Change:
    """Ours and its ablations: the product as users call it."""
    artifact, settings = context.artifact, context.settings
    assert artifact is not None
    generator = torch.Generator()
    augment = SemanticAugmentBatch(
        settings["p"],
        settings["strength"],
        checkpoint=replace(artifact, recommended=artifact.recommended | {"shrinkage": settings["shrinkage"]}),
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
    """An image's latent moved toward a near one of its class in the whole training set."""
    artifact, settings = context.artifact, context.settings
    assert artifact is not None
    artifact = artifact.to(context.device)
    autocast = torch.autocast(context.device.type, context.dtype, enabled=context.dtype is not None)

    def encode(images: Tensor) -> Tensor:
        with autocast:
            return artifact.encode(model_input(tensor_to_unit(images.to(context.device)), artifact)).float()

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
        with autocast:
            before, after = decoded(z, moved, artifact, settings["mode"])
        out = images.clone()
        out[chosen] = unit_to_tensor(blend(unit, before, after), images.dtype)
        return out

    return change
