import struct

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import torch
from torch.testing import assert_close
from torchvision.transforms.v2 import functional as F

from semantic_aug import images
from semantic_aug.images import file_to_bytes, upright


def test_ranges():
    unit = torch.rand(2, 3, 4, 4)
    assert_close(images.model_to_unit(images.unit_to_model(unit)), unit)
    bytes_ = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    model = images.bytes_to_model(bytes_)
    assert model.min() == -1
    assert model.max() == 1
    assert_close(images.unit_to_model(images.tensor_to_unit(bytes_)), model)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_storage_round_trip(dtype):
    original = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)
    stored = original if dtype == torch.uint8 else (original / 255).to(dtype)
    again = images.unit_to_tensor(images.tensor_to_unit(stored), dtype)
    assert again.dtype == dtype
    assert torch.equal(again, stored)


def test_storing_clips_and_rounds():
    assert images.unit_to_tensor(torch.tensor([-1.0, 0.4 / 255, 0.6 / 255, 2.0]), torch.uint8).tolist() == [
        0,
        0,
        1,
        255,
    ]
    with pytest.raises(TypeError, match=r"uint8 or floating point, got torch\.int32"):
        images.tensor_to_unit(torch.zeros(1, 2, 2, dtype=torch.int32))


def test_grey_is_torchvisions():
    rgb = torch.rand(2, 3, 5, 5)
    assert_close(images.to_grey(rgb), F.rgb_to_grayscale(rgb), rtol=0, atol=2e-3)


def test_a_grey_change_keeps_the_chroma():
    rgb = torch.rand(2, 3, 6, 6) / 2 + 0.25
    change = torch.rand(2, 1, 6, 6) / 10
    out = images.add_change(rgb, change)
    assert_close(images.to_grey(out), images.to_grey(rgb) + change)
    chroma = (rgb - images.to_grey(rgb), out - images.to_grey(out))
    assert_close(*chroma)


def test_an_rgb_change_of_a_grey_image_is_averaged():
    grey, change = torch.rand(2, 1, 6, 6), torch.rand(2, 3, 6, 6)
    assert_close(images.add_change(grey, change), grey + change.mean(1, keepdim=True))


def test_normalising_is_torchvisions():
    unit, mean, std = torch.rand(2, 3, 4, 4), (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    normalised = images.normalise(unit, mean, std)
    assert_close(normalised, F.normalize(unit, list(mean), list(std)))
    assert_close(images.denormalise(normalised, mean, std), unit)


@pytest.mark.parametrize(
    ("value", "message"),
    [(-0.1, "before Normalize"), (1.1, "before Normalize"), (torch.nan, "NaN"), (torch.inf, "NaN")],
)
def test_check_unit_refuses(value, message):
    image = torch.rand(1, 4, 4)
    images.check_unit(image, torch.float32)
    image[0, 0, 0] = value
    with pytest.raises(ValueError, match=message):
        images.check_unit(image, torch.float32)


def test_check_unit_allows_rounding_and_empty():
    images.check_unit(torch.tensor([[[1.0005]]]), torch.float32)
    images.check_unit(torch.tensor([[[1.01]]]), torch.bfloat16)
    images.check_unit(torch.empty(0, 1, 4, 4), torch.float32)


def gradient(mode):
    array = np.linspace(0, 255, 40 * 30).reshape(30, 40).astype(np.uint8)  # dark above, bright below
    return PIL.Image.fromarray(array).convert(mode)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I"])
@pytest.mark.parametrize("channels", [1, 3])
def test_files_of_any_mode_are_read(tmp_path, mode, channels):
    image = gradient("RGB").convert("LAB") if mode == "LAB" else gradient(mode)
    # Compressed, for Pillow 12 cannot read the plain YCbCr that it writes.
    image.save(tmp_path / "a.tif", compression="tiff_deflate")
    found = images.file_to_bytes(str(tmp_path / "a.tif"), channels, 16)
    assert found.shape == (channels, 16, 16)
    assert found.dtype == torch.uint8
    assert found[:, :4].float().mean() + 50 < found[:, -4:].float().mean()


def test_sixteen_bit_greys_keep_their_range(tmp_path):
    array = np.linspace(0, 65535, 16 * 16).reshape(16, 16).astype(np.uint16)
    PIL.Image.fromarray(array).save(tmp_path / "a.png")
    found = images.file_to_bytes(str(tmp_path / "a.png"), 1)
    assert_close(found[0].float(), torch.from_numpy((array >> 8).astype(np.float32)))


def test_transparency_is_laid_over_white(tmp_path):
    PIL.Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "a.png")
    assert images.file_to_bytes(str(tmp_path / "a.png"), 3).unique().tolist() == [255]


def test_exif_orientation_is_honoured(tmp_path):
    image = gradient("L")
    exif = image.getexif()
    exif[0x0112] = 6  # turned by 90 degrees
    image.save(tmp_path / "a.jpg", exif=exif)
    assert images.file_to_bytes(str(tmp_path / "a.jpg"), 1).shape == (1, 40, 30)


@pytest.mark.parametrize("orientation", range(10))
def test_every_orientation_is_pillows(orientation):
    image = PIL.Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4))
    image.getexif()[0x0112] = orientation
    assert upright(image).tobytes() == PIL.ImageOps.exif_transpose(image).tobytes()
    assert upright(image).size == PIL.ImageOps.exif_transpose(image).size


def test_damaged_exif_does_not_matter(tmp_path):
    """A tag of a wrong type, which Pillow's exif_transpose cannot write back."""
    entries = struct.pack("<HHI4s", 0x108, 2, 2, b"x\0\0\0") + struct.pack("<HHIHH", 0x112, 3, 1, 6, 0)
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + entries + b"\0\0\0\0"
    image = PIL.Image.linear_gradient("L").resize((20, 30))
    image.save(tmp_path / "a.jpg", exif=exif)
    with PIL.Image.open(tmp_path / "a.jpg") as file, pytest.raises(struct.error):
        PIL.ImageOps.exif_transpose(file)
    assert file_to_bytes(str(tmp_path / "a.jpg"), 1).shape == (1, 20, 30)


def test_floating_point_pixels_are_refused(tmp_path):
    PIL.Image.new("F", (4, 4), 0.5).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match="floating point numbers of an unknown range"):
        file_to_bytes(str(tmp_path / "a.tif"), 1)


@pytest.mark.parametrize(
    ("mode", "channels"), [("1", 1), ("L", 1), ("LA", 1), ("I;16", 1), ("P", 3), ("RGB", 3), ("RGBA", 3), ("CMYK", 3)]
)
def test_channels_of_its_own(mode, channels):
    assert images.pil_to_bytes(PIL.Image.new(mode, (5, 4)), None).shape == (channels, 4, 5)
