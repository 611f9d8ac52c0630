"""The computations and HTML of the interactive demo without Gradio: uploads, draws, walks and verdicts."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from semantic_aug._files import read_bytes
from semantic_aug.figures import drawing, html
from semantic_aug.functional import direction_noise, model_input, semantic_augment_image
from semantic_aug.images import (
    PixelsError,
    bytes_to_model,
    open_image,
    pil_to_bytes,
    resize,
    tensor_to_unit,
    unit_to_tensor,
)
from semantic_aug.model.artifact import Artifact
from semantic_aug.model.domain import Domain
from semantic_aug.model.recommended import Mode
from semantic_aug.model.runtime import LatentModel
from semantic_aug.model.statistics import POOLED
from semantic_aug.perturb import NEEDS_LABELS

if TYPE_CHECKING:
    from semantic_aug.evaluation.classifier import Judge

DRAWS = 8
LARGEST = 256  # maximum side of an uploaded image in pixels
MAX_BYTES, MAX_PIXELS = 10 << 20, 25_000_000  # limits for an upload
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
UNKNOWN = "(unknown)"  # stands for the pooled covariance in the list of classes


def read_upload(path: str | Path) -> Tensor:
    """Read the middle square of an uploaded file, uint8 (1 or 3, S, S) with S at most ``LARGEST``.

    Raises ValueError, with a message for the person who uploaded it, for a file that is too large or not an image.
    """
    size = Path(path).stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"This file has {size / 2**20:.1f} MB; at most {MAX_BYTES >> 20} MB can be used.")
    try:
        with open_image(read_bytes(path, MAX_BYTES), FORMATS, MAX_PIXELS) as file:
            image = pil_to_bytes(file, None)
    except PixelsError as error:
        most = MAX_PIXELS // 10**6
        raise ValueError(f"This image has too many pixels; at most {most} million can be used.") from error
    except Exception as error:  # whatever a damaged file makes Pillow raise
        raise ValueError(f"This is not an image that can be read; {', '.join(FORMATS)} can be used.") from error
    _, height, width = image.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[:, top : top + side, left : left + side]
    if side <= LARGEST:
        return square.contiguous()
    return unit_to_tensor(resize(tensor_to_unit(square)[None], (LARGEST, LARGEST))[0], torch.uint8)


def label_of(artifact: Artifact, name: str) -> int:
    """The index of a class by its name, or ``POOLED`` for ``UNKNOWN``."""
    return artifact.classes.index(name) if name in artifact.classes else POOLED


def reconstruction(artifact: Artifact, image: Tensor, label: int = POOLED) -> tuple[Tensor, float]:
    """The reconstruction, uint8 (c, S, S), of an image uint8 (C, H, W), and its L1 error on [-1, 1]."""
    x = model_input(tensor_to_unit(image)[None], artifact.network)
    decoded = artifact.decode(artifact.encode(x), torch.tensor([label], device=x.device))
    return drawing.to_bytes(decoded)[0], float((decoded - x).abs().mean())


def draws(
    artifact: Artifact, image: Tensor, label: int, *, strength: float, mode: Mode, perturbation: str, seed: int
) -> Tensor:
    """Augmentations, uint8 (``DRAWS``, C, H, W), of an image uint8 (C, H, W). The noise depends only on ``seed``."""
    if label == POOLED and perturbation in NEEDS_LABELS:
        raise ValueError(f"The perturbation {perturbation} needs a class; choose the class of the image.")
    noise = torch.randn(DRAWS, artifact.network.latent_dim, generator=torch.Generator().manual_seed(seed))
    return semantic_augment_image(
        image.expand(DRAWS, *image.shape),
        noise,
        LatentModel.of(artifact),
        label,
        strength=strength,
        mode=mode,
        perturbation=perturbation,
    )


def walk(artifact: Artifact, image: Tensor, label: int, deviations: Sequence[float], *, mode: Mode) -> Tensor:
    """An image uint8 (C, H, W), moved along the leading directions of its class by ``deviations``."""
    model = LatentModel.of(artifact)
    noise = direction_noise(torch.tensor(deviations), model, label)
    return semantic_augment_image(image, noise, model, label, strength=1.0, mode=mode)


def verdicts(judge: "Judge", artifact: Artifact, images: Tensor) -> Tensor:
    """A judge's probabilities (N, K) for images uint8 (N, C, H, W), in the artifact's order of classes."""
    return judge.probabilities(bytes_to_model(images))[:, judge.table(artifact.classes)]


# --- As HTML ----------------------------------------------------------------------------------------------------


def wall(
    images: Sequence[tuple[str, Tensor]],
    shares: Tensor | None,
    artifact: Artifact,
    label: int,
    *,
    named: bool = True,
) -> str:
    """Pictures side by side, each with its name below it. With a judge's ``shares`` (N, K), its prediction is added."""
    cells = []
    for number, (text, image) in enumerate(images):
        note = ""
        if shares is not None:
            share, found = shares[number].max(0)
            wrong = " class=wrong" if label not in (POOLED, int(found)) else ""
            note = f"<small{wrong}>{escape(artifact.classes[int(found)])} {float(share):.0%}</small>"
        caption = f"<figcaption>{escape(text) * named}{note}</figcaption>"
        cells.append(f'<figure><img alt="{escape(text)}" src="{html.data_url(image)}">{caption}</figure>')
    return f'<div class="wall">{"".join(cells)}</div>'


def draws_html(
    artifact: Artifact,
    judge: "Judge | None",
    image: Tensor,
    class_name: str,
    strength: float,
    mode: Mode,
    perturbation: str,
    seed: int,
) -> str:
    """The source, its reconstruction and the draws. With a judge, also its verdicts and their mean."""
    label = label_of(artifact, class_name)
    rebuilt, error = reconstruction(artifact, image, label)
    drawn = draws(artifact, image, label, strength=strength, mode=mode, perturbation=perturbation, seed=seed)
    shares = None if judge is None else verdicts(judge, artifact, drawn)
    first = [("source", image), ("reconstruction", rebuilt)]
    of_first = None if judge is None else torch.cat([verdicts(judge, artifact, part[None]) for _, part in first])
    parts = [
        f'<div class="beside">{wall(first, of_first, artifact, label)}',
        f"<p>{domain_html(artifact, image, error)}</p></div>",
        f"<h3>{DRAWS} augmentations</h3>",
        wall([(f"draw {number}", each) for number, each in enumerate(drawn, 1)], shares, artifact, label, named=False),
    ]
    if shares is not None:
        rows = zip(artifact.classes, shares.mean(0).tolist(), strict=True)
        parts += [
            "<h3>What the judge sees in them</h3>",
            "<p>The average of its probabilities. Below each picture is the class that it sees, in red if it is not "
            "the chosen one.</p>",
            html.bars((name, share, f"{share:.0%}") for name, share in rows),
        ]
    return "\n".join(parts)


def walk_html(
    artifact: Artifact, judge: "Judge | None", image: Tensor, class_name: str, mode: Mode, deviations: Sequence[float]
) -> str:
    """The image before and after a walk. With a judge, also its verdicts."""
    label = label_of(artifact, class_name)
    moved = walk(artifact, image, label, deviations, mode=mode)
    shares = None if judge is None else verdicts(judge, artifact, torch.stack([image, moved]))
    return wall([("the image", image), ("after the walk", moved)], shares, artifact, label)


def domain_html(artifact: Artifact, image: Tensor, error: float) -> str:
    """Why an image uint8 (C, H, W) is foreign, or else its reconstruction error.

    The error is not compared with the checkpoint's own, because any image with little contrast has a smaller one.
    """
    domain = Domain(artifact)
    domain.look(model_input(tensor_to_unit(image)[None], artifact.network), artifact)
    complaint = domain.complaint()
    if complaint is not None:
        return f"<strong>{escape(complaint[0].upper() + complaint[1:])}.</strong>"
    return f"Reconstruction error (L1): {error:.3f}. This alone does not say whether the image suits the checkpoint."
