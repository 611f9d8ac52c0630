"""Distribute units of work over the machines of a Ray cluster with Ray Data."""

import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from semantic_aug.expansion.layouts import Layout, Line
from semantic_aug.expansion.recipe import one_thread

BLOCKS = 2000  # maximum number of blocks of units; each is a task for Ray, and a retry repeats all of it


def in_actors(layout: Layout, units: Sequence[int]) -> Iterator[list[Line]]:
    """Do the same as ``run.in_threads`` with Ray actors that hold the model, one per CPU, or per GPU on a GPU.

    If an actor dies, another one repeats its work. The data and the output must be on a file system that all machines
    see under the same paths. Joins the cluster at RAY_ADDRESS, or starts Ray on this machine. Raises RuntimeError if a
    unit fails for another reason than the death of its actor.
    """
    import ray

    here = "RAY_ADDRESS" not in os.environ
    if not ray.is_initialized():
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **({"include_dashboard": False} if here else {}))
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        kind = "GPU" if layout.device.startswith("cuda") else "CPU"
        actors = max(min(int(ray.cluster_resources().get(kind, 0)), len(units)), 1)
        finished = ray.data.from_items(
            [{"unit": unit} for unit in units], override_num_blocks=min(len(units), BLOCKS)
        ).map_batches(
            _Writer,
            fn_constructor_args=[layout],
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=actors),
            **({"num_gpus": 1} if kind == "GPU" else {"num_cpus": 1}),
        )
        for row in finished.iter_rows():
            if row["error"]:
                raise RuntimeError(row["error"])
            yield json.loads(row["lines"])
    except ray.exceptions.RayError as error:  # whose text is a traceback
        raise RuntimeError(str(error).strip().splitlines()[-1]) from error
    finally:
        ray.shutdown()


class _Writer:
    """An actor's copy of the layout, with the networks loaded."""

    def __init__(self, layout: Layout) -> None:
        ExitStack().enter_context(one_thread())  # for as long as the process lives
        layout.device = layout.device.split(":")[0]  # an actor sees only its own GPU
        self.layout = layout.start()

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        (unit,) = batch["unit"]
        try:
            return {"lines": [json.dumps(self.layout.write(int(unit)))], "error": [""]}
        except Exception as error:  # returned as a result, because Ray would print a page of traceback
            return {"lines": ["[]"], "error": [str(error)]}
