"""Mutations of files that know their structure: JSON, tensors, tables, arrays, archives and PNG; and bytes of any."""

import csv
import io
import json
import os
import random
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load, save

VALUES = [
    *(None, True, False, -1, 0, 1, 2, 3, 7, 16, 2**31, 2**63, 10**400, -(10**18)),
    *(0.5, -0.5, 1e-320, 1e6, 1e308, -1e308, float("nan"), float("inf")),
    *("", "oas", "detail", "../../x", "a\0b", "\ud800", "\x1b[2J", "x" * 100_000),
    *([], {}, [[]], [None], {"": {}}, ["a"] * 1000),
]
CELLS = ["", "-1", "3", "999", "1e5", "nan", "a b", "../../x", "/etc/passwd", '"', "\0", "\u0663", "9" * 5000]
CELLS += ["256 " * 2304, "1 " * 2303, "-1 " * 2304, "x" * 200_000, "\udcff", "a\nb", "Training"]
NUMBERS = [b"\0", b"\xff", b"\x7f", b"\0\0", b"\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"]
NAMES = ["../../x", "/tmp/x", "x" * 90, "", "a/b", "expand.json"]
SPARSE = 1 << 28  # bytes of a file without content


# --- Of any file ------------------------------------------------------------------------------------------------


def mutate_bytes(content: bytes, draw: random.Random) -> bytes:
    """Flip a bit, write a number, cut, fill with zeros, remove, double or insert, often near the beginning."""
    data = bytearray(content)
    most = min(len(data), draw.choice((64, len(data) or 1)))
    at, length = draw.randrange(most) if most else 0, draw.choice((1, 2, 4, 16, 512))
    action = draw.choice(("flip", "flip", "number", "number", "cut", "zeros", "remove", "double", "insert", "noise"))
    if action == "flip" and data:
        data[at] ^= 1 << draw.randrange(8)
    elif action == "number":
        number = draw.choice(NUMBERS)
        data[at : at + len(number)] = number
    elif action == "cut":
        del data[draw.randrange(len(data) + 1) :]
    elif action == "zeros":
        start = draw.randrange(len(data) + 1)
        data[start:] = bytes(len(data) - start)
    elif action == "remove":
        del data[at : at + length]
    elif action == "double":
        data[at:at] = data[at : at + length]
    else:
        data[at : at + length * (action == "noise")] = draw.randbytes(length)
    return bytes(data)


def replace_file(path: Path, draw: random.Random) -> None:
    """Put something else in the place of a file: nothing in it, a named pipe, a folder, a link, or a large hole."""
    path.unlink()
    action = draw.choice(("empty", "pipe", "folder", "loop", "nowhere", "endless", "hole"))
    if action == "pipe":
        os.mkfifo(path)
    elif action == "folder":
        path.mkdir()
    elif action in ("loop", "nowhere", "endless"):
        path.symlink_to({"loop": path.name, "nowhere": "nowhere", "endless": "/dev/zero"}[action])
    else:
        path.touch()
        os.truncate(path, SPARSE * (action == "hole"))


# --- JSON and tensors -------------------------------------------------------------------------------------------


def mutate_tree(tree: dict, draw: random.Random) -> None:
    """Replace, remove or double one value, anywhere in the tree."""
    places = []
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        for key in node if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                waiting.append(node[key])
    if not places:
        return
    node, key = draw.choice(places)
    action = draw.choice(("replace", "replace", "remove", "nudge", "add"))
    if action == "remove":
        del node[key]
    elif action == "nudge" and isinstance(node[key], int | float):
        node[key] = draw.choice((node[key] + 1, node[key] - 1, -node[key], node[key] * 1e30, float(node[key])))
    elif action == "add" and isinstance(node, dict):
        node[draw.choice(("x" * 100_000, "", "num_classes", "rank"))] = draw.choice(VALUES)
    else:
        node[key] = draw.choice(VALUES)


def mutate_json(content: bytes, draw: random.Random) -> bytes:
    tree = json.loads(content)
    mutate_tree(tree, draw)
    return json.dumps(tree).encode()


def mutate_lines(content: bytes, draw: random.Random) -> bytes:
    """JSON lines: change, remove or double one, or exchange parts of two."""
    lines = content.splitlines()
    at, other = draw.randrange(len(lines)), draw.randrange(len(lines))
    action = draw.choice(("change", "change", "remove", "double", "exchange"))
    if action == "change":
        lines[at] = mutate_json(lines[at] or b"{}", draw)
    elif action == "remove":
        del lines[at]
    elif action == "double":
        lines.insert(other, lines[at])
    elif lines[at] and lines[other]:
        left, right = json.loads(lines[at]), json.loads(lines[other])
        name = draw.choice(sorted(left))
        left[name], right[name] = right.get(name), left[name]
        lines[at], lines[other] = json.dumps(left).encode(), json.dumps(right).encode()
    return b"\n".join(lines) + b"\n"


def metadata_of(content: bytes) -> dict[str, str]:
    """The metadata of a safetensors file."""
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]).get("__metadata__", {})


def mutate_tensors(content: bytes, draw: random.Random) -> bytes:
    """Change the values, the shape, the dtype or the name of one tensor, or the metadata."""
    tensors, metadata = load(content), metadata_of(content)
    if metadata and draw.random() < 0.3:
        name = draw.choice(sorted(metadata))
        if metadata[name].startswith("{"):
            metadata[name] = mutate_json(metadata[name].encode(), draw).decode()
        else:
            metadata[name] = draw.choice(("", "x", "[" * 100_000, "1,2,x", "9" * 400, metadata[name] + "0"))
    elif tensors:
        mutate_tensor(tensors, draw)
    return save({key: value.contiguous() for key, value in tensors.items()}, metadata)


def mutate_tensor(tensors: dict, draw: random.Random) -> None:
    name = draw.choice(sorted(tensors))
    value = tensors[name]
    action = draw.choice(("fill", "fill", "scale", "element", "element", "remove", "rename", "dtype", "shape", "noise"))
    number = draw.choice((0.0, -1.0, 1e-30, 1e4, 1e20, 3e38, -3e38, torch.nan, torch.inf))
    if not value.is_floating_point():
        number = draw.choice((0, 1, 255) if value.dtype == torch.uint8 else (-1, 0, 2**62))
    if action == "remove":
        del tensors[name]
    elif action == "rename":
        tensors[draw.choice(("x", name + "x", "x" * 10_000))] = tensors.pop(name)
    elif action == "dtype":
        tensors[name] = value.to(draw.choice((torch.float64, torch.int32, torch.float16, torch.bfloat16)))
    elif action == "shape":
        many = value[None].repeat(2, *[1] * value.ndim)
        tensors[name] = draw.choice((value.flatten(), value[None], value.flatten()[:0], many, many.flatten(0, 1)))
    elif action == "noise" and value.is_floating_point():
        tensors[name] = value + torch.randn(value.shape, generator=torch.Generator().manual_seed(draw.randrange(999)))
    elif action == "element" and value.numel():
        value.view(-1)[draw.randrange(value.numel())] = number
    elif action == "scale" and value.is_floating_point():
        value *= draw.choice((-1.0, 0.0, 1e3, 1e20))
    else:
        value.fill_(number)


# --- Tables, arrays, archives and PNG ---------------------------------------------------------------------------


def mutate_table(content: bytes, draw: random.Random) -> bytes:
    """CSV: change, add or remove a cell, or remove or double a row."""
    rows = list(csv.reader(io.StringIO(content.decode("utf-8", "surrogateescape"))))
    row = draw.choice(rows)
    action = draw.choice(("change", "change", "add", "remove", "remove row", "double row"))
    if action == "add":
        row.insert(draw.randrange(len(row) + 1), draw.choice(CELLS))
    elif action == "remove" and row:
        del row[draw.randrange(len(row))]
    elif action == "remove row":
        rows.remove(row)
    elif action == "double row":
        rows.append(row)
    elif row:
        row[draw.randrange(len(row))] = draw.choice(CELLS)
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape")


def mutate_array(content: bytes, draw: random.Random) -> bytes:
    """npy: another shape, dtype or value, pickled objects, or a header that promises what is not there."""
    array = draw.choice(
        (
            *(np.array(value) for value in ("3", "x", 3, -1, 99, 2**62, 3.7, np.nan, True, b"3", [1, 2], [], [[1]])),
            *(np.array([{}], dtype=object), np.zeros(1, "i4,f4"), np.array("2020", "M8[D]"), np.array(1j)),
        )
    )
    file = io.BytesIO()
    np.save(file, array)
    shapes = (b"'shape': (9" + b"9" * draw.choice((0, 8, 30)) + b",)", b"'shape': ()")
    return file.getvalue().replace(b"'shape': ()", draw.choice(shapes))


def mutate_archive(content: bytes, draw: random.Random) -> bytes:
    """tar: change the content, the name or the kind of a member; remove, double or move it."""
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        members = [(info, tar.extractfile(info).read() if info.isreg() else b"") for info in tar]
    at = draw.randrange(len(members))
    info, data = members[at]
    action = draw.choice(("content", "content", "name", "kind", "remove", "double", "move"))
    if action == "content":
        data = mutate_json(data, draw) if info.name.endswith(".json") else mutate_bytes(data, draw)
        info.size, members[at] = len(data), (info, data)
    elif action == "name":
        info.name = draw.choice((*NAMES, members[draw.randrange(len(members))][0].name))
    elif action == "kind":
        info.type = draw.choice((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE))
        info.linkname = draw.choice((*NAMES, info.name))
    else:
        moved = [] if action == "remove" else [members[at]]
        members[at : at + 1] = [] if action == "move" else moved
        members += [] if action == "remove" else moved
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


def mutate_png(content: bytes, draw: random.Random) -> bytes:
    """Change, remove or double a chunk, and make its check sum right again."""
    chunks, at = [], 8
    while at + 12 <= len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    if not chunks:
        return content
    at = draw.randrange(len(chunks))
    kind, data = chunks[at]
    action = draw.choice(("bytes", "bytes", "bytes", "pixels", "remove", "double", "add"))
    if action == "bytes":
        chunks[at] = kind, mutate_bytes(data, draw)
    elif action == "pixels":
        chunks[at] = kind, zlib.compress(draw.randbytes(draw.choice((0, 9, 3000)))) if kind == b"IDAT" else data
    elif action == "remove":
        del chunks[at]
    elif action == "double":
        chunks.insert(at, (kind, data))
    else:
        bomb = zlib.compress(bytes(1 << 24))
        added = ((b"iCCP", b"x\0\0" + bomb), (b"zTXt", b"x\0\0" + bomb), (b"eXIf", b"MM\0*" + draw.randbytes(40)))
        chunks.insert(at, draw.choice((*added, (b"tRNS", draw.randbytes(6)), (b"acTL", draw.randbytes(8)))))
    packed = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return content[:8] + b"".join(packed)


STRUCTURED = {
    ".json": mutate_json,
    ".jsonl": mutate_lines,
    ".safetensors": mutate_tensors,
    ".csv": mutate_table,
    ".npy": mutate_array,
    ".tar": mutate_archive,
    ".png": mutate_png,
}


def mutate(path: Path, draw: random.Random) -> bool:
    """Mutate a file by its structure, as far as it still has one, by its bytes, or as a whole.

    Returns whether its own check sums are right again, as those of a PNG after a mutation of its chunks.
    """
    if not path.is_file() or path.stat().st_size == SPARSE:
        return False
    way = draw.choice(("structure", "structure", "structure", "structure", "bytes", "bytes", "bytes", "file"))
    if way == "file" and draw.random() < 0.5:
        replace_file(path, draw)
        return False
    content = path.read_bytes()
    if way == "structure" and path.suffix in STRUCTURED:
        try:
            path.write_bytes(STRUCTURED[path.suffix](content, draw))
            return path.suffix == ".png"
        except Exception:  # an earlier mutation has destroyed its structure
            pass
    path.write_bytes(mutate_bytes(content, draw))
    return False
