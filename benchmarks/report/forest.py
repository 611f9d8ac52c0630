"""Forest plots, which show differences with their intervals. The PNG file contains a description of its content."""

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path

from .intervals import Difference

LABEL = 64  # characters in a line of a label
Point = tuple[str, Difference, str]  # label, difference, and the text at the right


def describe(points: Sequence[Point], title: str) -> str:
    """Describe everything that a plot shows, as a text for its file."""
    return json.dumps([title, [[label, str(difference), note] for label, difference, note in points]])


def draw(points: Sequence[Point], title: str, path: Path) -> None:
    """Draw a PNG file with the first point on top. Needs matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    labels = ["\n".join(textwrap.wrap(label, LABEL, break_on_hyphens=False)) for label, _, _ in points]
    lines = sum(label.count("\n") + 1.6 for label in labels)
    figure = Figure(figsize=(10, 1.4 + 0.18 * lines), layout="constrained")
    figure.suptitle(title.replace(". ", ".\n"), x=0.01, horizontalalignment="left", fontsize="medium")
    axes = figure.add_subplot()
    for place, (_, difference, _) in enumerate(reversed(points)):
        axes.errorbar(difference.mean, place, xerr=difference.half, fmt="o", color="black", capsize=3)
    places = range(len(points))
    axes.set_yticks(places, labels[::-1], fontsize="small")
    axes.axvline(0, color="grey", linewidth=1)
    axes.set_xlabel("points")
    right = axes.secondary_yaxis("right")
    right.set_yticks(places, [note for _, _, note in reversed(points)])
    right.tick_params(length=0)
    FigureCanvasAgg(figure).print_png(str(path), metadata={"report": describe(points, title)})


def read_description(path: Path) -> str | None:
    """Read the description in a PNG file. Returns None if there is no file or no description."""
    from PIL import Image

    if not path.is_file():
        return None
    with Image.open(path) as image:
        return image.info.get("report")
