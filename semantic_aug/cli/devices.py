"""The device and the precision to work with."""

import sys

import torch

from semantic_aug._distributed import launched


def chosen_device(name: str | None) -> str:
    """Return ``name``, or the best device. Raises ValueError if the machine does not have it."""
    available = ["cpu"] + (["mps"] if torch.backends.mps.is_available() else [])
    available = [f"cuda:{i}" for i in range(torch.cuda.device_count())] + available
    if launched() > 1:  # each process of several takes a GPU of its own
        name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    if name is None:
        return available[0]
    known = [*available, "cuda"] if torch.cuda.is_available() else available
    if name not in known:
        raise ValueError(f"device {name!r} is not there; this machine has {', '.join(available)}")
    return name


def chosen_precision(name: str, device: str) -> str:
    """Return ``name``. "auto" becomes "bf16" on a GPU that supports it, and "fp32" elsewhere.

    Warns where a CPU without bfloat16 units would emulate "bf16".
    """
    if name == "bf16" and device == "cpu" and torch.backends.cpu.get_cpu_capability() == "AVX2":
        print("warning: this processor has no bfloat16 units; --precision fp32 is many times faster", file=sys.stderr)
    if name != "auto":
        return name
    return "bf16" if device.startswith("cuda") and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
