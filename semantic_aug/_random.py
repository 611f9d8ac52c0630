"""Randomness: generators with a seed for one purpose, and draws that are as even as they can be."""

import hashlib
import math

import torch
from torch import Tensor


def seeded(*key: int | str) -> torch.Generator:
    """A CPU generator for one purpose at one moment, so that a resumed run draws what it would have drawn."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def evenly(values: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``count`` of ``values`` (at least one), each as often as the others or once more, in random order."""
    rounds = -(-count // len(values))
    shuffled = [values[torch.randperm(len(values), generator=generator)] for _ in range(rounds)]
    return torch.cat([values[:0], *shuffled])[:count]


def stratified(shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
    """Uniform numbers in [0, 1) of a shape, one from each of equally wide strata, in random order.

    For any p, as near to a share p of them as can be lies below p. A batch therefore has one number of chosen images,
    or two neighbouring ones, and what was compiled or tuned for a shape is used again.
    """
    n = math.prod(shape)
    strata = torch.randperm(n, generator=generator, device="cpu")
    numbers = (strata + torch.rand(n, generator=generator, device="cpu")) / max(n, 1)
    return numbers.clamp(max=1 - 2**-24).reshape(shape)  # rounding may give 1, which is outside
