"""Class statistics of the latents of a data set, computed by one process or many."""

import torch

from semantic_aug._distributed import rank_and_world, shares, sum_over_processes
from semantic_aug.data.dataset import ImageSet
from semantic_aug.model.networks import Encoder
from semantic_aug.model.statistics import ClassStatistics


@torch.no_grad()
def fit_statistics(encoder: Encoder, data: ImageSet, *, batch: int = 256) -> ClassStatistics:
    """Statistics of mu(x) over all images of ``data``, in one pass and without random augmentation.

    With several processes, each takes a share of the images, and all return the statistics of the whole. ``encoder``
    must be in eval mode, because in training mode an image's latent would depend on its batch.
    """
    if encoder.training:
        raise ValueError("the encoder is in training mode; call encoder.eval() first")
    if not len(data):
        raise ValueError("there are no images to take statistics of")
    parameter = next(encoder.parameters())
    statistics = ClassStatistics(len(data.classes), encoder.latent_dim)
    for part in shares(len(data), batch):
        mu, _ = encoder(data.batch(part).to(parameter.device))
        statistics.update(mu, data.labels[part])
    return merged_over_processes(statistics, parameter.device)


def merged_over_processes(statistics: ClassStatistics, device: torch.device) -> ClassStatistics:
    """Merge the statistics of all processes. Each process gets the result. Sums are computed on ``device``.

    As in ``ClassStatistics.merge``, scatters are moved to the common mean before they are added.
    """
    if rank_and_world()[1] == 1:
        return statistics
    count, mean, scatter = (tensor.to(device) for tensor in (statistics.count, statistics.mean, statistics.scatter))
    total = sum_over_processes(count)
    common = sum_over_processes(mean * count[:, None]) / total.clamp(min=1)[:, None]
    delta = mean - common
    scatter = sum_over_processes(scatter + count[:, None, None] * delta[:, :, None] * delta[:, None, :])
    merged = ClassStatistics(statistics.num_classes, statistics.dim)
    merged.count, merged.mean, merged.scatter = total.cpu(), common.cpu(), scatter.cpu()
    return merged
