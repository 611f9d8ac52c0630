import os
import struct
import subprocess
import sys
import zlib

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


@pytest.mark.parametrize("channels", [1, 3])
def test_pil_and_back_is_torchvisions(channels):
    pixels = torch.randint(256, (channels, 5, 7), dtype=torch.uint8)
    picture, expected = images.bytes_to_pil(pixels), F.to_pil_image(pixels)
    assert picture.mode == expected.mode
    assert picture.tobytes() == expected.tobytes()
    for found in (images.mode_to_bytes(picture), F.pil_to_tensor(picture)):
        assert torch.equal(found, pixels)
        assert found.stride() == (1, channels * 7, channels)


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
    [
        (-1.8, r"from -1\.8 to .*before Normalize, or pass mean= and std="),
        (2.0, r"convert uint8 images with ToDtype\(torch\.float32, scale=True\)"),
        (255.0, r"to 255; convert uint8 images with ToDtype"),
        (-0.1, r"a bicubic resize overshoots, so clamp them"),
        (1.1, r"a bicubic resize overshoots, so clamp them: image\.clamp\(0, 1\)"),
        (torch.nan, "NaN"),
        (torch.inf, "NaN"),
    ],
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


PIL_PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + bytes(21) + struct.pack(">I", 0) + b"IEND" + b"\xaeB`\x82"


# --- Damaged and hostile files --------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:IM image format is deprecated")
@pytest.mark.parametrize("kind", ["EPS", "ICO", "SGI", "PCX", "IM"])
def test_formats_that_are_not_listed_are_not_decoded_whatever_the_name(tmp_path, kind):
    """Pillow would hand the first to Ghostscript."""
    gradient("RGB").save(tmp_path / "a.png", kind)
    with pytest.raises(PIL.UnidentifiedImageError):
        file_to_bytes(str(tmp_path / "a.png"), 1)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "TGA", "PPM", "JPEG2000", "AVIF"])
def test_every_listed_format_is_decoded(tmp_path, kind):
    if kind not in images._known((kind,)):
        pytest.skip(f"this Pillow has no {kind}")
    gradient("RGB").save(tmp_path / "a.png", kind)
    assert file_to_bytes(str(tmp_path / "a.png"), 1).shape == (1, 30, 40)


def test_a_named_pipe_keeps_nobody_waiting(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png: is a named pipe"):
        file_to_bytes(str(tmp_path / "a.png"), 1)


def noisy(tmp_path, kind):
    """A file of noise in a format, and its content."""
    generator = np.random.default_rng(0)
    image = PIL.Image.fromarray(generator.integers(0, 256, (40, 40), dtype=np.uint8))
    image.save(tmp_path / "a.img", kind)
    return tmp_path / "a.img", (tmp_path / "a.img").read_bytes()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF"])
@pytest.mark.parametrize("kept", [0.05, 0.3, 0.6, 0.9])
def test_a_tail_of_zeros_as_after_a_power_failure_is_found(tmp_path, kind, kept):
    path, whole = noisy(tmp_path, kind)
    path.write_bytes(whole[: int(kept * len(whole))].ljust(len(whole), b"\0"))
    with pytest.raises((OSError, ValueError)):
        file_to_bytes(str(path), 1)


def test_wrong_bytes_of_a_png_are_found_by_its_check_sums(tmp_path):
    path, whole = noisy(tmp_path, "PNG")
    for offset in range(60, len(whole), 40):
        path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 16]) + whole[offset + 1 :])
        with pytest.raises((OSError, ValueError)):
            file_to_bytes(str(path), 1)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP"])
def test_zeros_after_the_end_of_an_image_do_no_harm(tmp_path, kind):
    path, whole = noisy(tmp_path, kind)
    expected = file_to_bytes(str(path), 1)
    path.write_bytes(whole + bytes(512))
    assert torch.equal(file_to_bytes(str(path), 1), expected)


def test_black_pixels_are_no_damage(tmp_path):
    for kind in ("BMP", "TGA", "PPM", "TIFF", "WEBP"):
        PIL.Image.new("L", (64, 64)).save(tmp_path / "a.img", kind)
        assert not file_to_bytes(str(tmp_path / "a.img"), 1).any()


def solid(path, side, mode="L", **options):
    PIL.Image.new(mode, (side, side), **options).save(path, "PNG")
    return str(path)


@pytest.mark.parametrize("side", [8000, 20_000])
def test_pixels_are_counted_before_they_are_decoded(tmp_path, side):
    """Beyond Pillow's own limit, and below it."""
    content = bytearray(PIL_PNG)
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    content[12:33] = header + struct.pack(">I", zlib.crc32(header))
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(images.PixelsError, match=r"expected at most 50 million \(SEMANTIC_AUG_MAX_PIXELS\)"):
        file_to_bytes(str(tmp_path / "a.png"), 1)


def test_the_limit_of_pixels_can_be_set(tmp_path, monkeypatch):
    path = solid(tmp_path / "a.png", 40)
    monkeypatch.setattr(images, "MAX_PIXELS", 1599)
    with pytest.raises(images.PixelsError, match=r"has 40 x 40 pixels, expected at most 0\.001599 million"):
        file_to_bytes(path, 1)
    monkeypatch.setattr(images, "MAX_PIXELS", 1600)
    file_to_bytes(path, 1)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "LA", "CMYK"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_image_is_reduced_first_and_looks_the_same(tmp_path, monkeypatch, kind, mode, orientation):
    if (kind == "JPEG") == (mode in ("RGBA", "P", "LA")) or (kind == "PNG" and mode == "CMYK"):
        pytest.skip("not a mode of this format")
    image = PIL.Image.linear_gradient("L").resize((600, 400)).convert(mode)
    if mode in ("RGBA", "LA"):
        image.putalpha(PIL.Image.radial_gradient("L").resize(image.size))
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a", kind, exif=exif)
    expected = file_to_bytes(str(tmp_path / "a"), 3, 32)
    monkeypatch.setattr(images, "LARGE", 100_000)
    found = file_to_bytes(str(tmp_path / "a"), 3, 32)
    assert (found.int() - expected.int()).abs().max() <= 3
    assert found.float().std() > 10


PEAK = """
import resource, sys
from semantic_aug.images import file_to_bytes
file_to_bytes(sys.argv[1], 3, 48)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
file_to_bytes(sys.argv[2], 3, 48)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "bytes_each"), [("L", 2), ("RGB", 5), ("RGBA", 9)])
def test_the_largest_image_takes_the_stated_memory(tmp_path, mode, bytes_each):
    paths = [solid(tmp_path / f"{side}.png", side, mode) for side in (100, 7000)]
    done = subprocess.run([sys.executable, "-c", PEAK, *paths], capture_output=True, text=True, check=True)
    print(mode, f"{int(done.stdout) * 1024 / 7000**2:.1f} bytes a pixel")
    assert int(done.stdout) * 1024 < bytes_each * 7000**2
