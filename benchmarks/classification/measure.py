"""The metrics of a trained classifier, with and without post-hoc logit adjustment."""

import base64
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from semantic_aug.data.dataset import ImageSet

from .bases import log_priors

EVALUATED = 512  # images per batch
FITTED = 500  # maximum number of training images per class on which recall is also measured
TAUS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
CALIBRATION_BINS = 15


def measure(network: nn.Module, data: ImageSet, measured: ImageSet, device: torch.device) -> dict[str, Any]:
    """Evaluate a classifier that was trained on ``data`` on the images ``measured``. All figures are fractions.

    Returns the figures of ``describe``, the mAP of the unadjusted scores, and also:

    - ``adjusted``: the figures of ``describe`` after logit adjustment with tau 1.
    - ``taus``: accuracy and balanced accuracy at each tau in ``TAUS``. Choose the tau from a validation run, and then
      look up the result at this tau in the test run.
    - ``fitted``: recall of each class on up to ``FITTED`` training images per class.
    """
    from torchmetrics.functional.classification import multiclass_average_precision

    counts, labels = data.counts(), measured.labels
    logits = compute_logits(network, measured, device)
    precision = multiclass_average_precision(logits.softmax(1), labels, len(counts), average=None)
    found = describe(logits, labels, counts)
    found |= {"mAP": _round(precision.mean()), "average_precision": [_round(value) for value in precision]}
    found["adjusted"] = {"tau": 1.0} | describe(adjust(logits, counts, 1.0), labels, counts)
    found["taus"] = {}
    for tau in TAUS:
        recall = per_class_recall(adjust(logits, counts, tau), labels)
        found["taus"][str(tau)] = [_round(accuracy(adjust(logits, counts, tau), labels)), _round(recall.mean())]
    seen = data.subset(torch.cat([(data.labels == k).nonzero().flatten()[:FITTED] for k in range(len(counts))]))
    fitted = per_class_recall(compute_logits(network, seen, device), seen.labels)
    found["fitted"] = [_round(value) for value in fitted]
    return found


def adjust(logits: Tensor, counts: Sequence[int], tau: float) -> Tensor:
    """f_y(x) - tau log prior_y. Its argmax is the adjusted prediction (Menon et al. 2021, arXiv 2007.07314, eq. 9).

    Args:
        logits: (N, K).
        counts: number of training images of each class, (K,).
        tau: strength of the adjustment.
    """
    return logits - tau * log_priors(counts).to(logits.dtype)


def describe(logits: Tensor, labels: Tensor, counts: Sequence[int]) -> dict[str, Any]:
    """Accuracy, balanced accuracy, recall of classes and groups of classes, calibration, and the correct images.

    - ``many``, ``few``: mean recall of the third of the classes with the most training images, and of the third with
      the fewest. Both thirds are rounded down.
    - ``medium``: mean recall of the other classes.
    - ``ece``: expected calibration error with 15 bins.
    - ``correct``: one bit per image, sorted by class (``pack_bits``). Images of a class keep their order.
    """
    from torchmetrics.functional.classification import multiclass_calibration_error

    recall = per_class_recall(logits, labels)
    error = multiclass_calibration_error(logits.softmax(1), labels, logits.shape[1], n_bins=CALIBRATION_BINS)
    groups = {name: _round(recall[members].mean()) for name, members in group_classes(counts).items() if members}
    return {
        "accuracy": _round(accuracy(logits, labels)),
        "balanced_accuracy": _round(recall.mean()),
        "recall": [_round(value) for value in recall],
        **groups,
        "ece": _round(error),
        "correct": pack_bits((logits.argmax(1) == labels)[labels.argsort(stable=True)]),
    }


def group_classes(counts: Sequence[int]) -> dict[str, list[int]]:
    """Sort the classes from the largest to the smallest and split them into three groups, as in ``describe``."""
    order = sorted(range(len(counts)), key=lambda k: -counts[k])
    third = len(counts) // 3
    return {"many": order[:third], "medium": order[third : len(order) - third], "few": order[len(order) - third :]}


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Fraction of the images that are classified correctly."""
    return (logits.argmax(1) == labels).double().mean()


def per_class_recall(logits: Tensor, labels: Tensor) -> Tensor:
    """Fraction of the images of each class that are classified correctly, float64 (K,)."""
    right = torch.bincount(labels[logits.argmax(1) == labels], minlength=logits.shape[1])
    return right.double() / torch.bincount(labels, minlength=logits.shape[1])


@torch.no_grad()
def compute_logits(network: nn.Module, data: ImageSet, device: torch.device) -> Tensor:
    """Logits (N, K) on the CPU.

    They are computed without autocast and returned as float64, because rounding would give confident predictions the
    same rank.
    """
    parts = [
        network(data.batch(slice(start, start + EVALUATED)).to(device))[0].double().cpu()
        for start in range(0, len(data), EVALUATED)
    ]
    return torch.cat(parts)


def pack_bits(bits: Tensor) -> str:
    """Pack bools (N,) into bytes, the first one in the highest bit, and encode them in base64.

    The last byte is padded with zeros.
    """
    padded = torch.nn.functional.pad(bits.long(), (0, -len(bits) % 8)).view(-1, 8)
    values = (padded * 2 ** torch.arange(7, -1, -1)).sum(1)
    return base64.b64encode(bytes(values.tolist())).decode()


def unpack_bits(text: str, count: int) -> Tensor:
    """Return the first ``count`` bools that ``pack_bits`` packed into ``text``."""
    values = torch.tensor(list(base64.b64decode(text)))
    return (values[:, None] >> torch.arange(7, -1, -1) & 1).flatten()[:count].bool()


def _round(value: Tensor) -> float:
    return round(float(value), 6)
