"""How far long work is: a bar with the time left on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator

SECONDS = 30  # between plain lines


def shown(finished: Iterator[int], total: int, done: int, what: str, *, silent: bool = False) -> None:
    """Run through ``finished``, which does the work and gives how much it did, and show it.

    Args:
        finished: amounts of ``what``, ``total - done`` in all.
        total: all of it.
        done: what was done before.
        silent: show nothing, as the processes other than the first do.
    """
    from tqdm import tqdm

    bar = tqdm(total=total, initial=done, unit="img", disable=silent or not sys.stderr.isatty(), dynamic_ncols=True)
    began = said = time.monotonic()
    initial = done
    with bar:
        for amount in finished:
            done += amount
            bar.update(amount)
            now = time.monotonic()
            if bar.disable and not silent and now - said >= SECONDS and done > initial:
                left = (now - began) / (done - initial) * (total - done)
                print(f"{done} of {total} {what}, {left / 60:.0f} min left", flush=True)
                said = now
