"""Progress of long work: a bar with the time left on a terminal, and a plain line a minute elsewhere."""

import sys
import time
from typing import TextIO

from semantic_aug._text import printable

SECONDS = 60  # between plain lines


class Progress:
    """The progress of work on ``total`` images, of which ``done`` are done already. It is a context manager.

    Args:
        total: number of images.
        done: number of images that were done before.
        what: what the images are called in plain lines.
        silent: show nothing, for processes other than the first.
        file: where lines are printed (None: stdout). The bar is on stderr.
    """

    def __init__(
        self, total: int, done: int = 0, what: str = "images", *, silent: bool = False, file: TextIO | None = None
    ) -> None:
        from tqdm import tqdm

        self._total, self._before, self._done, self._what, self._file = total, done, done, what, file
        hidden = silent or not sys.stderr.isatty()
        self._bar = tqdm(total=total, initial=done, unit="img", disable=hidden, dynamic_ncols=True)
        self._lines = hidden and not silent
        self._began = self._printed = time.monotonic()

    def advance(self, images: int) -> None:
        """Note that ``images`` more are done. Prints a line if there is no bar and the last line is a minute old."""
        self._done += images
        self._bar.update(images)
        now = time.monotonic()
        if self._lines and now - self._printed >= SECONDS and self._done > self._before:
            left = (now - self._began) / (self._done - self._before) * (self._total - self._done)
            self.say(f"{self._done} of {self._total} {self._what}, {format_time(left)} left")
            self._printed = now

    def say(self, text: str) -> None:
        """Print a line without breaking the bar."""
        file = self._file or sys.stdout
        self._bar.write(printable(text), file=file)
        file.flush()

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def format_time(seconds: float) -> str:
    """Format a duration, such as "3 h 20 min", "12 min" or "under a minute"."""
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else "under a minute"
