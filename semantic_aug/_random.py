"""Randomness: generators seeded for one purpose, and draws that are as even as possible."""

import hashlib
import math

import torch
from torch import Tensor


def seeded(*key: int | str) -> torch.Generator:
    """A CPU generator for one purpose at one moment, so that a resumed run draws the same as an uninterrupted one."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def evenly(values: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw ``count`` of ``values`` (at least one) in random order, so that their frequencies differ by at most 1."""
    rounds = -(-count // len(values))
    shuffled = [values[torch.randperm(len(values), generator=generator, device="cpu")] for _ in range(rounds)]
    return (shuffled[0] if rounds == 1 else torch.cat([values[:0], *shuffled]))[:count]


def stratified(shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
    """Uniform numbers in [0, 1) of a given shape, one from each of equally wide strata, in random order.

    For any p, the fraction of numbers below p is as close to p as possible. The number of chosen images in a batch
    therefore varies by at most 1, and code that was compiled or tuned for a shape can be reused.
    """
    n = math.prod(shape)
    strata = torch.randperm(n, generator=generator, device="cpu")
    numbers = (strata + torch.rand(n, generator=generator, dtype=torch.float32, device="cpu")) / max(n, 1)
    return numbers.clamp(max=1 - 2**-24).reshape(shape)  # rounding may give 1, which is outside the range
