"""Find training images that show a held-out picture: python -m benchmarks.classification.duplicates (see --help)

Two images are near-duplicates if their pixels, averaged over 2 x 2, have a correlation of at least ``THRESHOLD``. One
of the two may be mirrored. Such images show the same picture, but are shifted by a pixel or two, or have another
watermark or another contrast. We looked at pairs from FER2013. All of twelve pairs with a correlation between 0.91 and
0.93 show the same picture, and so do seven of twelve pairs between 0.89 and 0.91. A blank image (train has eleven,
validation one) is not a duplicate of anything.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, normalize

from semantic_aug.data.dataset import ImageSet, load_data

THRESHOLD = 0.92
REPORTED = (0.999, 0.98, 0.95, THRESHOLD, 0.9)
BLOCK = 256  # held-out images that are compared with all training images at a time


def likeness(images: Tensor, others: Tensor) -> Tensor:
    """The largest correlation (N,) of each of ``images`` (N, C, S, S) with any of ``others`` (M, C, S, S), uint8."""
    queries, known = _standardised(images), _standardised(others)
    mirrored = _standardised(images.flip(-1))
    return torch.cat(
        [
            torch.maximum((a @ known.T).amax(1), (b @ known.T).amax(1))
            for a, b in zip(queries.split(BLOCK), mirrored.split(BLOCK), strict=True)
        ]
    )


def without_duplicates(data: ImageSet, others: Sequence[ImageSet]) -> ImageSet:
    """Return ``data`` without the images that are near-duplicates of an image of ``others``."""
    likest = likeness(data.images, torch.cat([other.images for other in others]))
    return data.subset((likest < THRESHOLD).nonzero().flatten())


def _standardised(images: Tensor) -> Tensor:
    pooled = avg_pool2d(images.float(), 2).flatten(1)
    return normalize(pooled - pooled.mean(1, keepdim=True), dim=1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Count near-duplicates, print the counts and write them to ``--json``. Returns 0, or 2 if data is rejected."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", metavar="NAME", help="name of the data in the results")
    parser.add_argument("--train", metavar="DATA", required=True)
    parser.add_argument("--held-out", metavar="DATA", nargs="+", required=True)
    parser.add_argument("--size", metavar="S", type=int, default=48)
    parser.add_argument("--json", metavar="FILE", type=Path)
    options = parser.parse_args(arguments)
    try:
        train = load_data(options.train, 1, options.size)
        held_out = {spec: load_data(spec, 1, options.size) for spec in options.held_out}
    except (ValueError, OSError) as error:
        print(f"duplicates: {error}", file=sys.stderr)
        return 2
    counts: dict[str, dict[str, int]] = {}
    for spec, data in held_out.items():
        likest, split = likeness(data.images, train.images), Path(spec).name
        counts[split] = {"images": len(data)} | {f"{t:g}": int((likest >= t).sum()) for t in REPORTED}
        print(f"{split}: {len(data)} images. Number with a correlation to a training image of at least")
        print("  " + ", ".join(f"{t:g}: {counts[split][f'{t:g}']}" for t in REPORTED))
    removed = len(train) - len(without_duplicates(train, list(held_out.values())))
    print(f"{removed} of {len(train)} training images are near-duplicates ({THRESHOLD:g}) of a held-out image")
    if options.json:
        figures = {"data": options.name, "train": len(train), "removed": removed, "threshold": THRESHOLD}
        options.json.write_text(json.dumps(figures | {"held_out": counts}, indent=1, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
