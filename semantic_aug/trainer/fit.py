"""Class statistics of the latents of a data set."""

import torch

from semantic_aug.networks import Encoder
from semantic_aug.statistics import ClassStatistics
from semantic_aug.trainer.data import ImageSet


@torch.no_grad()
def fit_statistics(encoder: Encoder, data: ImageSet, *, batch: int = 256) -> ClassStatistics:
    """Statistics of mu(x) over all images of ``data``, in one pass, without random augmentation.

    ``encoder`` must be in eval mode: in training mode an image's latent would depend on its batch.
    """
    if encoder.training:
        raise ValueError("the encoder is in training mode; call encoder.eval() first")
    device = next(encoder.parameters()).device
    statistics = None
    for start in range(0, len(data), batch):
        part = slice(start, start + batch)
        mu, _ = encoder(data.batch(part).to(device))
        statistics = statistics or ClassStatistics(len(data.classes), mu.shape[1])
        statistics.update(mu, data.labels[part])
    if statistics is None:
        raise ValueError("there are no images to take statistics of")
    return statistics
