"""Calls in processes of their own that start at once, because they are forks of one that has imported everything."""

import multiprocessing
import os
import runpy
import socket
import sys
import tempfile
import warnings
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

SERVER = multiprocessing.get_context("forkserver")
# Imported once, by the server. Its forks may compute gradients, because it computes none.
SERVER.set_forkserver_preload(
    ["semantic_aug.cli.main", "semantic_aug.transform", "semantic_aug.trainer.loop", "accelerate", "torch._dynamo"]
)


def fork(call: Callable[..., int | None], *arguments: object) -> BaseProcess:
    """Start ``call(*arguments)``, which returns the exit code of its process, in a fork of this one.

    It must not compute gradients, because autograd refuses to in a fork of a process that has computed some.
    """
    process = multiprocessing.get_context("fork").Process(target=_run, args=(call, *arguments))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of threads, which pytest-xdist has
        process.start()
    return process


def start(call: Callable[..., object], *arguments: object, output: Path, **variables: str) -> BaseProcess:
    """Start ``call(*arguments)``, which may compute gradients, in a fork of the server that prints to a file.

    It gets this process's environment and ``variables``. The call and its arguments are pickled.
    """
    process = SERVER.Process(target=_run_printing, args=(output, os.environ | variables, call, *arguments))
    process.start()
    return process


def launch(call: Callable[..., object], *arguments: object, **variables: str) -> str:
    """What ``call(*arguments)`` prints in two processes with the variables that torchrun sets. Both must succeed."""
    with socket.create_server(("localhost", 0)) as free:
        variables |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(free.getsockname()[1])}
    variables |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder, rank) for rank in ("0", "1")]
        processes = [
            start(call, *arguments, output=output, RANK=output.name, LOCAL_RANK=output.name, **variables)
            for output in outputs
        ]
        while running := [process for process in processes if process.exitcode is None]:
            wait([process.sentinel for process in running])
            if any(process.exitcode for process in processes):  # the others would wait for it
                for process in processes:
                    process.kill()
        said = "".join(output.read_text() for output in outputs)
    assert [process.exitcode for process in processes] == [0, 0], said
    return said


def run_script(*words: object) -> None:
    """Run a Python script as Python would."""
    sys.argv = [str(word) for word in words]
    runpy.run_path(sys.argv[0], run_name="__main__")


def _run(call: Callable[..., int | None], *arguments: object) -> None:
    torch.set_num_threads(1)  # a fork has none of the parent's other threads
    sys.exit(call(*arguments))


def _run_printing(output: Path, environment: dict[str, str], call: Callable[..., object], *arguments: object) -> None:
    multiprocessing.set_start_method(None, force=True)  # that of a new process, not the one by which this one started
    os.environ.clear()
    os.environ.update(environment)
    with output.open("w") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    sys.exit(call(*arguments))
