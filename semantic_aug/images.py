"""Conversions between the ways to store an image: PIL, uint8, [0, 1] or normalised, grey or RGB, of any size.

No other module deals with these. Everywhere else an image is a float tensor (..., C, H, W) in [0, 1] ("unit range")
or, inside the networks, in [-1, 1] ("model range").
"""

import functools
import io
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import PIL.Image
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from semantic_aug._files import MAX_FILE, read_bytes
from semantic_aug._text import shorten

# Pillow tells formats by the content of a file, whatever its name, and hands some (EPS) to foreign programs.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "TGA", "PPM", "JPEG2000", "AVIF")
MAX_PIXELS = int(os.environ.get("SEMANTIC_AUG_MAX_PIXELS", 50_000_000))  # of an image, before it is decoded
LARGE = 4_000_000  # pixels; larger images are reduced before they are resized
GAP = 3  # how many times larger than asked for an image still is after it was reduced
ENDS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "GIF": b";"}  # the marker at the end of a whole file
ZEROS = bytes(32)  # that many and more do not end a file without this marker, except after a power failure
TURNS = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}
OVERSHOOT = 0.25  # how far a resize that sharpens leaves [0, 1] at most, about
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in PIL's and torchvision's conversions to grey


class PixelsError(ValueError):
    """An image has too many pixels to be decoded."""


def unit_to_model(images: Tensor) -> Tensor:
    """[0, 1] => [-1, 1]."""
    return images * 2 - 1


def model_to_unit(images: Tensor) -> Tensor:
    """[-1, 1] => [0, 1]."""
    return (images + 1) / 2


def bytes_to_model(images: Tensor) -> Tensor:
    """uint8 0..255 => float32 in [-1, 1]."""
    return images.float() / 127.5 - 1


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (N, C, h, w) to (N, C, *size), bilinear and antialiased. Returns ``images`` itself if the size fits."""
    if images.shape[-2:] == size:
        return images
    return interpolate(images, size=size, mode="bilinear", antialias=True)


def to_grey(images: Tensor) -> Tensor:
    """Luminance: (N, 3, H, W) => (N, 1, H, W)."""
    return (images * images.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)


def file_to_bytes(path: str, channels: int | None, size: int | None = None) -> Tensor:
    """Read an image file of one of ``FORMATS`` and any mode as uint8 (channels, H, W).

    The EXIF orientation is honoured, and transparent images are composited onto white. If ``channels`` is None, the
    image keeps its own number, 1 for grey and 3 for colour. With ``size``, the image is resized to (size, size). Raises
    OSError or ValueError, as Pillow does, for a file that cannot be read, ValueError for one that is damaged or no
    regular file, and PixelsError for one with more than ``MAX_PIXELS``.
    """
    return content_to_bytes(read_bytes(path, MAX_FILE), channels, size)


def content_to_bytes(content: bytes, channels: int | None, size: int | None = None) -> Tensor:
    """Do the same as ``file_to_bytes`` for the content of a file."""
    with open_image(content) as image:
        return pil_to_bytes(image, channels, size)


@contextmanager
def open_image(
    content: bytes, formats: Sequence[str] = FORMATS, max_pixels: int | None = None
) -> Iterator[PIL.Image.Image]:
    """Open the content of an image file of one of ``formats``, with at most ``max_pixels`` (None: ``MAX_PIXELS``).

    Raises as ``file_to_bytes``, also while the image is decoded inside.
    """
    try:
        with _open(content, formats, max_pixels) as image:
            yield image
    except (OSError, ValueError, MemoryError):
        raise
    except Exception as error:  # a damaged file can make Pillow raise anything, such as SyntaxError and IndexError
        raise ValueError(f"cannot be decoded ({type(error).__name__}: {shorten(error)})") from error


@contextmanager
def _open(content: bytes, formats: Sequence[str], max_pixels: int | None) -> Iterator[PIL.Image.Image]:
    most = MAX_PIXELS if max_pixels is None else max_pixels
    expected = f"expected at most {most / 1e6:g} million (SEMANTIC_AUG_MAX_PIXELS)"
    try:
        opened = PIL.Image.open(io.BytesIO(content), formats=_known(tuple(formats)))
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:  # Pillow's own limits
        raise PixelsError(f"has too many pixels, {expected}") from error
    with opened as image:
        if image.width * image.height > most:
            raise PixelsError(f"has {image.width} x {image.height} pixels, {expected}")
        if image.format == "PNG":  # its check sums are not compared when it is decoded
            with PIL.Image.open(io.BytesIO(content), formats=("PNG",)) as again:
                again.verify()
        end = ENDS.get(image.format or "")
        if end and content.endswith(ZEROS) and not content.rstrip(b"\0").endswith(end):
            raise ValueError("ends in zeros where its data should be, as after a power failure")
        yield image


@functools.cache
def _known(formats: tuple[str, ...]) -> tuple[str, ...]:
    """The formats that this build of Pillow has."""
    PIL.Image.init()
    return tuple(name for name in formats if name in PIL.Image.OPEN)


def pil_to_bytes(image: PIL.Image.Image, channels: int | None, size: int | None = None) -> Tensor:
    """Do the same as ``file_to_bytes`` for an image that is already open."""
    turn = _turn(image)
    if size is not None and image.width * image.height > LARGE:
        image = _reduce(image, GAP * size)
    image = image if turn is None else image.transpose(turn)
    if channels is None:
        channels = 1 if PIL.Image.getmodebase(image.mode) == "L" else 3
    image = pil_to_mode(image, "L" if channels == 1 else "RGB")
    if size is not None and image.size != (size, size):
        image = image.resize((size, size), PIL.Image.Resampling.BILINEAR, reducing_gap=3.0)
    return mode_to_bytes(image)


def mode_to_bytes(image: PIL.Image.Image) -> Tensor:
    """The pixels of an image of mode "L" or "RGB", as they are, as uint8 (1 or 3, H, W)."""
    pixels = torch.from_numpy(np.array(image))
    return pixels.reshape(image.height, image.width, -1).permute(2, 0, 1)


def bytes_to_pil(image: Tensor) -> PIL.Image.Image:
    """uint8 (1 or 3, H, W) => an image of mode "L" or "RGB"."""
    array = image.permute(1, 2, 0).numpy(force=True)
    return PIL.Image.fromarray(array[..., 0] if len(image) == 1 else array)


def _reduce(image: PIL.Image.Image, size: int) -> PIL.Image.Image:
    """Shrink a large image by a whole factor to at least (size, size), so that later steps take little memory.

    A JPEG is decoded at a half, a quarter or an eighth of its size.
    """
    image.draft(None, (size, size))
    factor = min(image.size) // size
    if factor < 2:
        return image
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        if image.mode not in ("P", "PA", "CMYK", "YCbCr", "1"):
            return image
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    return image.reduce(factor)


def upright(image: PIL.Image.Image) -> PIL.Image.Image:
    """Turn ``image`` as its EXIF orientation says. Without a readable orientation, return it unchanged.

    Pillow's ``exif_transpose`` is not used because it writes the rest of the EXIF back, which fails if any of it is
    damaged.
    """
    turn = _turn(image)
    return image if turn is None else image.transpose(turn)


def _turn(image: PIL.Image.Image) -> PIL.Image.Transpose | None:
    try:
        return TURNS.get(image.getexif().get(0x0112, 1))
    except Exception:  # damaged EXIF can make Pillow raise anything
        return None


def is_plain(path: str) -> bool:
    """Whether others read an image file as ``file_to_bytes`` does, even if they ignore orientation and transparency.

    Pixels of more than 8 bits are not plain either. A file that cannot be opened is plain.
    """
    try:
        with PIL.Image.open(path, formats=_known(FORMATS)) as file:
            return not (_turn(file) or file.has_transparency_data or file.mode.startswith(("I", "F")))
    except Exception:  # a damaged file can make Pillow raise anything
        return True


def pil_to_mode(image: PIL.Image.Image, mode: str) -> PIL.Image.Image:
    """Convert ``image`` to "L" or "RGB".

    Grey images with more than 8 bits keep the upper 8 of 16 bits. Transparent images are composited onto white. Raises
    ValueError for floating point pixels, because the file does not state their range.
    """
    if image.mode == "F":
        raise ValueError("its pixels are floating point numbers of an unknown range; save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        array = torch.frombuffer(bytearray(image.convert("I").tobytes()), dtype=torch.int32)
        if image.mode != "I" or array.max() > 255:
            array = array >> 8
        image = bytes_to_pil(array.clamp(0, 255).to(torch.uint8).reshape(1, image.height, image.width))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, "white"), image)
    if image.mode == "LAB":  # Pillow converts this mode only to RGB
        image = image.convert("RGB")
    return image if image.mode == mode else image.convert(mode)


def tensor_to_unit(images: Tensor) -> Tensor:
    """uint8 or floating point (..., C, H, W) => float32 in [0, 1]. Floats are assumed to be in [0, 1] already."""
    if images.dtype == torch.uint8:
        return images.float() / 255
    if images.is_floating_point():
        return images.float()
    raise TypeError(f"expected an image of dtype uint8 or floating point, got {images.dtype}")


def unit_to_tensor(images: Tensor, dtype: torch.dtype) -> Tensor:
    """float32 => ``dtype`` (uint8 or floating point), clipped to [0, 1], and rounded if the dtype is uint8."""
    images = images.clamp(0, 1)
    return (images * 255).round().to(dtype) if dtype == torch.uint8 else images.to(dtype)


def to_model_channels(images: Tensor, channels: int) -> Tensor:
    """Unit-range images (N, 1 or 3, H, W) => (N, channels, H, W): RGB becomes luminance, grey is repeated."""
    if images.shape[1] == channels:
        return images
    return to_grey(images) if channels == 1 else images.expand(-1, channels, -1, -1)


def add_change(images: Tensor, change: Tensor) -> Tensor:
    """Add a model's change (N, c, h, w), resized, to unit-range images (N, C, H, W). The images keep their channels.

    A grey model changes the luminance of an RGB image and keeps its chroma. For a grey image, the change of an RGB
    model is averaged over the channels.
    """
    change = resize(change, (images.shape[-2], images.shape[-1]))
    return images + (change.mean(1, keepdim=True) if images.shape[1] == 1 else change)


def denormalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Undo ``v2.Normalize(mean, std)``: (..., C, H, W) => unit range, float32.

    Raises TypeError for integers, which cannot have been normalised, and ValueError if the number of values differs
    from the number of channels.
    """
    if not images.is_floating_point():
        raise TypeError(f"mean and std are given, so normalised floats were expected, got {images.dtype}")
    if not len(mean) == len(std) == images.shape[-3]:
        raise ValueError(
            f"mean and std have {len(mean)} and {len(std)} values, the images {images.shape[-3]} channels; expected "
            f"one value for each channel, as given to Normalize"
        )
    images = images.float()
    return images * images.new_tensor(std)[:, None, None] + images.new_tensor(mean)[:, None, None]


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """``v2.Normalize(mean, std)``."""
    return (images - images.new_tensor(mean)[:, None, None]) / images.new_tensor(std)[:, None, None]


def check_channels(images: Tensor) -> None:
    """Raise ValueError unless (..., C, H, W) has 1 or 3 channels."""
    if images.shape[-3] not in (1, 3):
        last = "; its channels come last, call permute" if images.shape[-1] in (1, 3) else ""
        raise ValueError(
            f"expected images (..., C, H, W) with 1 or 3 channels, got {images.shape[-3]} in shape "
            f"{tuple(images.shape)}{last}"
        )


def check_unit(images: Tensor, stored: torch.dtype, *, denormalised: bool = False) -> None:
    """Raise ValueError for floats that are not finite or not in [0, 1], up to the rounding error of ``stored``.

    The message depends on the likely cause. ``denormalised`` says that ``denormalise`` made the images.
    """
    if not images.is_floating_point() or not images.numel():
        return
    low, high = (float(value) for value in images.detach().aminmax())
    tolerance = 1e-3 if stored in (torch.float32, torch.float64) else 2e-2
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError("the image holds NaN or infinite pixels; expected finite values in [0, 1]")
    if low < -tolerance or high > 1 + tolerance:
        if denormalised:
            advice = "mean= and std= are not those of Normalize, or a transform such as RandomErasing comes between; "
            advice += "put it after the augmentation"
        elif low >= -OVERSHOOT and high <= 1 + OVERSHOOT:
            advice = "a bicubic resize overshoots, so clamp them: image.clamp(0, 1)"
        elif low >= 0 and high <= 256:
            advice = "convert uint8 images with ToDtype(torch.float32, scale=True)"
        else:
            advice = "put the transform before Normalize, or pass mean= and std= as given to Normalize"
        after = " after undoing Normalize" if denormalised else ""
        raise ValueError(f"expected float images in [0, 1], got values from {low:.3g} to {high:.3g}{after}; {advice}")
