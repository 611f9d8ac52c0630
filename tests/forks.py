"""Calls in processes of their own that start at once, because they are forks of this one with all its imports."""

import multiprocessing
import sys
import warnings
from collections.abc import Callable
from multiprocessing.process import BaseProcess

import torch


def fork(call: Callable[..., int | None], *arguments: object) -> BaseProcess:
    """Start ``call(*arguments)``, which returns the exit code of its process.

    It must not compute gradients, because autograd refuses to in a fork of a process that has computed some.
    """
    process = multiprocessing.get_context("fork").Process(target=_run, args=(call, *arguments))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of threads, which pytest-xdist has
        process.start()
    return process


def _run(call: Callable[..., int | None], *arguments: object) -> None:
    torch.set_num_threads(1)  # a fork has none of the parent's other threads
    sys.exit(call(*arguments))
