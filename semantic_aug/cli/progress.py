"""Progress of long work: a bar with the time left on a terminal, and plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator

SECONDS = 30  # between plain lines


def shown(finished: Iterator[int], total: int, done: int, what: str, *, silent: bool = False) -> None:
    """Iterate over ``finished``, which does the work and yields amounts of finished work, and show the progress.

    Args:
        finished: amounts of ``what``, which add up to ``total - done``.
        total: the total amount.
        done: the amount that was done before.
        what: the unit of the amounts, in plain lines.
        silent: show nothing, for processes other than the first.
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
