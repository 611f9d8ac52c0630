"""The drop-in transform for torchvision pipelines."""

from collections.abc import Sequence
from pathlib import Path

import torch

from semantic_aug.augmenter import DEFAULT_CHECKPOINT, Augmenter, LabelsGetter, PerClass
from semantic_aug.model.artifact import Artifact, Mode


class SemanticAugment(Augmenter):
    """Give an image another pose, light or identity and the same class (arXiv 2411.17254): encode, perturb, decode.

    Without a label (``ImageFolder(transform=t)`` passes none) the covariance pooled over the classes is used; call
    ``transform(image, label)`` for that of the label's class. The result depends on the image, its label and the
    noise drawn for it alone, not on the batch it stands in.

    Takes PIL images ("L", "RGB"), uint8 tensors and float tensors in [0, 1], ``tv_tensors.Image`` and ``Video``, of
    any size and leading dimensions, in any structure that v2 accepts; gives the same type, dtype, device, size and
    structure. A batch (..., C, H, W) has a coin and a draw per image; the frames of a video, and several images of
    one sample, share one. Whatever is no image comes back as the same object.

    Args:
        p: probability in [0, 1] of augmenting an image, or one per class (a sequence, or {class name: value}).
        strength: s >= 0, the scale of the latent covariance (Eq. 4), or one per class; None: the checkpoint's own.
        checkpoint: the name of a bundled checkpoint, a directory, a repository of the Hugging Face Hub (``user/repo``
            or ``user/repo@revision``; a directory of that name wins), or an ``Artifact``. Loaded on first use; from
            the Hub it is downloaded at once, and all workers use the commit found then.
        perturbation: "covariance" (the paper's); "pooled", one covariance for all classes; "diagonal", without
            correlations; "isotropic", the same total variance in every direction; "class-gaussian", a new sample of
            the class whatever the image; "interpolate", toward another chosen image of the class in the batch. The
            last two need labels.
        mode: "decode" (the paper's: G(z')), "detail" (x + G(z') - G(mu)), or None: the checkpoint's own.
        labels_getter: how to find the labels in a sample: "default" (the second element, or the key "labels", or one
            that contains "label"), a callable that gets the sample, or None (no labels).
        classes: the data set's class names in label order, to map labels by name, ignoring case. Without it label i
            is the checkpoint's class i.
        mean, std: as given to ``Normalize``, where it comes before this transform.
        generator: a CPU generator for all randomness (None: torch's global one). In a DataLoader worker its seed is
            combined with the worker's.
        device: where to compute (None: where the image is). The result comes back to the image's device.
        domain_check: warn once where images look unlike those that the checkpoint was trained on.
        rank: how many leading directions of each latent covariance are used, 1..d (None: all). With thousands of
            classes it saves memory: the factors of K classes take K d r numbers instead of K d d.
        dtype: bfloat16 or float16 to run the networks under autocast; None: float32.

    Raises ValueError for settings out of range, labels that the checkpoint does not know, and float images outside
    [0, 1]; TypeError for boxes, masks and keypoints, and for other dtypes and modes; RuntimeError for CUDA in a worker.
    """

    def __init__(
        self,
        p: PerClass = 0.5,
        strength: PerClass | None = None,
        *,
        checkpoint: str | Path | Artifact = DEFAULT_CHECKPOINT,
        perturbation: str = "covariance",
        mode: Mode | None = None,
        labels_getter: LabelsGetter = "default",
        classes: Sequence[str] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        generator: torch.Generator | None = None,
        device: str | torch.device | None = None,
        domain_check: bool = True,
        rank: int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            p, strength, checkpoint=checkpoint, perturbation=perturbation, mode=mode, labels_getter=labels_getter,
            classes=classes, mean=mean, std=std, generator=generator, device=device, domain_check=domain_check,
            rank=rank, dtype=dtype,
        )  # fmt: skip
