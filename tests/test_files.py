"""Readers of files that others wrote: regular files only, limits, and errors that name the file."""

import os

import pytest
import torch
from safetensors.torch import save_file

from semantic_aug._files import FileError, below, check_regular, parse_json, read_bytes, read_json, read_tensors
from semantic_aug._io import save_with_digest
from semantic_aug._text import printable, shorten

SPEC = {"x": ((None, 2), ("F32",)), "n": ((), ("I64",))}


@pytest.fixture
def file(tmp_path):
    save_with_digest({"x": torch.ones(3, 2), "n": torch.tensor(4)}, tmp_path / "a", {"m": "text"})
    return tmp_path / "a"


def read(path):
    return read_tensors(path, lambda _: SPEC)


def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    kinds = {tmp_path / "pipe": "a named pipe", tmp_path / "link": "a named pipe", tmp_path: "a directory"}
    for path, kind in {**kinds, "/dev/zero": "a device"}.items():
        for reader in (check_regular, read_bytes, read_json, read):
            with pytest.raises(FileError, match=f"{path}: is {kind}, expected a regular file"):
                reader(path)


def test_a_file_is_measured_before_it_is_read(tmp_path):
    with (tmp_path / "sparse").open("wb") as sparse:
        sparse.truncate(1 << 40)
    with pytest.raises(FileError, match="sparse: has 1099511627776 bytes, expected at most 16777216"):
        read_bytes(tmp_path / "sparse")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"1", b"[" * 100_000, b'{"a": ' + b"1" * 5000 + b"}"])
def test_what_is_no_json_object_is_refused_in_a_few_words(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(FileError, match=r"a\.json: (not JSON in UTF-8: .+|holds .*, expected a JSON object)") as caught:
        read_json(tmp_path / "a.json")
    assert len(str(caught.value)) < 400


def test_json_is_read():
    assert parse_json('{"a": [1, 2.5, "\\ud800"]}', "here") == {"a": [1, 2.5, "\ud800"]}


@pytest.mark.parametrize("name", ["", "/etc/passwd", "..", "a/../../b", "a\0b"])
def test_a_name_that_leads_out_of_its_root_is_refused(tmp_path, name):
    with pytest.raises(FileError, match="is no path of a file below it"):
        below(tmp_path, name)


def test_a_name_below_its_root(tmp_path):
    assert below(tmp_path, "a/b.png") == tmp_path / "a" / "b.png"


# --- Tensors ----------------------------------------------------------------------------------------------------------


def test_tensors_come_back(file):
    tensors, metadata = read(file)
    assert torch.equal(tensors["x"], torch.ones(3, 2))
    assert tensors.keys() == {"x", "n"}
    assert metadata == {"m": "text"}


def test_every_flipped_bit_is_found(file):
    """Of the header, the numbers, the metadata and the digest itself."""
    whole = file.read_bytes()
    for offset in range(len(whole)):
        content = bytearray(whole)
        content[offset] ^= 1 << (offset % 8)
        file.write_bytes(content)
        try:
            tensors, metadata = read(file)
        except FileError:
            continue
        padding = b" " in whole[offset : offset + 1]
        assert padding, (offset, whole[max(offset - 20, 0) : offset + 20])
        assert metadata == {"m": "text"}
        assert torch.equal(tensors["x"], torch.ones(3, 2))


def test_a_file_without_its_digest_is_refused(tmp_path):
    save_file({"x": torch.zeros(0, 2), "n": torch.tensor(1)}, tmp_path / "a")
    with pytest.raises(FileError, match="lacks tensor 'digest'"):
        read(tmp_path / "a")
    with pytest.raises(FileError, match="does not fit its digest"):
        read_tensors(tmp_path / "a", lambda _: None)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"x": torch.ones(3, 2)}, "lacks tensor 'n'"),
        ({"y": torch.ones(3)}, "has the unexpected tensor 'y'"),
        ({"x": torch.ones(2)}, r"tensor 'x' has shape \[2\], expected \['any', 2\]"),
        ({"x": torch.ones(3, 3)}, r"tensor 'x' has shape \[3, 3\], expected \['any', 2\]"),
        ({"x": torch.ones(3, 2).half()}, "tensor 'x' is F16, expected F32"),
        ({"x": torch.full((1, 2), torch.nan)}, "tensor 'x' holds NaN or infinity"),
    ],
)
def test_other_tensors_are_refused(file, tensors, message):
    if "lacks" not in message:
        tensors = {"x": torch.ones(3, 2), "n": torch.tensor(4)} | tensors
    save_with_digest(tensors, file, {"m": "text"})
    with pytest.raises(FileError, match=f"{file}: {message}"):
        read(file)


# --- Text -------------------------------------------------------------------------------------------------------------


def test_text_from_outside_forges_no_line_and_moves_no_cursor():
    assert printable("Grüße, 猫 |") == "Grüße, 猫 |"
    assert printable("a\nwrote b\x1b[2J\u202e\udcff") == r"a\nwrote b\x1b[2J\u202e\udcff"
    assert shorten(ValueError("a\n" * 1000)) == "a " * 100
    assert shorten(ValueError()) == "ValueError"
