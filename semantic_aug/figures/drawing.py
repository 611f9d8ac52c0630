"""Drawing of labelled grids of images, bar charts, and the two grids that training and the demo write."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from semantic_aug._io import png_bytes, write_whole
from semantic_aug.functional import model_input, semantic_augment_image
from semantic_aug.images import bytes_to_pil, model_to_unit, tensor_to_unit, unit_to_tensor
from semantic_aug.labels import indices_by_class
from semantic_aug.model.artifact import Artifact
from semantic_aug.model.recommended import MODES, Mode
from semantic_aug.model.runtime import LatentModel

STRENGTHS = (0.25, 0.35, 0.5, 1.0)
DRAWS: dict[Mode, int] = {"detail": 3, "decode": 2}  # augmentations of an image in an overview
ROWS = 7  # of an overview, at most
TILE = 96  # least height and width of an image, in pixels
MARGIN, GAP, HEADER, CAPTION = 88, 3, 34, 13  # pixels
BAR, BAR_LENGTH, BAR_MARGIN, BAR_COLOUR = 26, 480, 60, "#3b6ea8"


def overview(artifact: Artifact, images: Tensor, labels: Tensor, *, seed: int = 0) -> Image.Image:
    """Draw ``overview_columns``, with one row per image. Of more than ``ROWS`` images, some are left out evenly."""
    chosen = torch.linspace(0, len(images) - 1, min(len(images), ROWS)).long()
    columns = overview_columns(artifact, images[chosen], labels[chosen], seed=seed)
    return grid(columns, [artifact.classes[label] for label in labels[chosen].tolist()])


def overview_columns(artifact: Artifact, images: Tensor, labels: Tensor, *, seed: int = 0) -> dict[str, Tensor]:
    """Original, reconstruction, and several augmentations of an image at the recommended strength, in both modes.

    ``images`` are (N, C, H, W) uint8, and ``labels`` (N,) are class indices of the artifact. Every cell has its own
    noise, drawn with ``seed``. Returns columns (N, C, H, W) uint8 by their headings.
    """
    strength = artifact.recommended.strength
    settings = {
        f"{mode} {strength:g}\n{number}": (mode, strength) for mode, n in DRAWS.items() for number in range(1, n + 1)
    }
    return _columns(artifact, images, labels, settings, seed)


def strength_columns(artifact: Artifact, images: Tensor, labels: Tensor, *, seed: int = 0) -> dict[str, Tensor]:
    """Original, reconstruction, and an augmentation at each of ``STRENGTHS`` in both modes, as ``overview_columns``."""
    settings = {f"{mode}\n{strength:g}": (mode, strength) for mode in MODES for strength in STRENGTHS}
    return _columns(artifact, images, labels, settings, seed)


def _columns(
    artifact: Artifact, images: Tensor, labels: Tensor, settings: Mapping[str, tuple[Mode, float]], seed: int
) -> dict[str, Tensor]:
    n, images, model = len(images), images.to(artifact.device), LatentModel.of(artifact)
    generator = torch.Generator().manual_seed(seed)
    x = model_input(tensor_to_unit(images), artifact.network)
    reconstructions = to_bytes(artifact.decode(artifact.encode(x), labels.to(x.device)))
    columns = {"original": images, "recon-\nstruction": reconstructions}
    for name, (mode, strength) in settings.items():
        noise = torch.randn(n, artifact.network.latent_dim, generator=generator)
        columns[name] = semantic_augment_image(images, noise, model, labels, strength=strength, mode=mode)
    return columns


def samples(artifact: Artifact, *, columns: int = 10, temperature: float = 1.0, seed: int = 0) -> Image.Image:
    """One row per class with ``columns`` new images of it, drawn by ``Artifact.sample``."""
    return grid(samples_columns(artifact, columns=columns, temperature=temperature, seed=seed), artifact.classes)


def samples_columns(
    artifact: Artifact, *, columns: int = 10, temperature: float = 1.0, seed: int = 0
) -> dict[str, Tensor]:
    """The columns of ``samples`` by their headings, each (K, C, H, W) uint8."""
    generator = torch.Generator().manual_seed(seed)
    drawn = [
        to_bytes(artifact.sample(label, columns, generator, temperature=temperature))
        for label in range(len(artifact.classes))
    ]
    return numbered(torch.stack(drawn, dim=1))


def numbered(columns: Sequence[Tensor] | Tensor) -> dict[str, Tensor]:
    """Columns under the headings "1", "2", ..."""
    return {f"{number}": images for number, images in enumerate(columns, 1)}


def grid(
    columns: Mapping[str, Tensor],
    row_names: Sequence[str],
    captions: Mapping[str, Sequence[tuple[str, str]]] | None = None,
) -> Image.Image:
    """Draw named columns of images, each (N, C, H, W) uint8, with the row names on the left.

    ``captions`` holds a text and its colour to write below each image, by the names of the columns.
    """
    height, width = next(iter(columns.values())).shape[-2:]
    scale = max(1, -(-TILE // max(height, width)))
    cell_h, cell_w = height * scale + GAP + (CAPTION if captions else 0), width * scale + GAP
    picture = Image.new("RGB", (MARGIN + cell_w * len(columns), HEADER + cell_h * len(row_names)), "white")
    draw = ImageDraw.Draw(picture)
    for column, (name, images) in enumerate(columns.items()):
        left = MARGIN + column * cell_w
        draw.multiline_text((left + cell_w // 2, HEADER // 2), name, "black", anchor="mm", align="center")
        for row, image in enumerate(images):
            tile = bytes_to_pil(image).convert("RGB").resize((width * scale, height * scale), Image.Resampling.BICUBIC)
            picture.paste(tile, (left, HEADER + row * cell_h))
            if captions:
                text, colour = captions[name][row]
                middle = (left + width * scale // 2, HEADER + row * cell_h + height * scale + CAPTION // 2)
                draw.text(middle, text, colour, anchor="mm")
    for row, name in enumerate(row_names):
        draw.text((4, HEADER + row * cell_h + cell_h // 2), name[:14], "black", anchor="lm")
    return picture


def bars(values: Mapping[str, int]) -> Image.Image:
    """Draw a bar for each value in the given order, with its name on the left and its number at the end."""
    longest = max(1, *values.values())
    picture = Image.new("RGB", (MARGIN + BAR_LENGTH + BAR_MARGIN, HEADER + BAR * len(values)), "white")
    draw = ImageDraw.Draw(picture)
    for row, (name, value) in enumerate(values.items()):
        top, middle = HEADER // 2 + row * BAR, HEADER // 2 + row * BAR + (BAR - GAP) // 2
        right = MARGIN + round(BAR_LENGTH * value / longest)
        draw.rectangle((MARGIN, top, right, top + BAR - 2 * GAP), BAR_COLOUR)
        draw.text((4, middle), name[:14], "black", anchor="lm")
        draw.text((right + 6, middle), f"{value}", "black", anchor="lm")
    return picture


def first_of_each_class(labels: Tensor, per_class: int = 1) -> Tensor:
    """Indices of the first ``per_class`` images of every class, ordered by class."""
    return torch.cat([members[:per_class] for members in indices_by_class(labels)])


def save(picture: Image.Image, path: str | Path) -> None:
    """Write a PNG atomically, so that a viewer never sees an incomplete file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(png_bytes(picture), path)


def to_bytes(images: Tensor) -> Tensor:
    """Images in [-1, 1], as networks return them => uint8."""
    return unit_to_tensor(model_to_unit(images), torch.uint8)
