"""Forest plots, which show differences with their intervals. The PNG file contains a description of its content."""

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from .intervals import Difference

LABEL = 48  # characters in a line of a label
# A label, and for each figure the difference and the text at its right.
Point = tuple[str, Mapping[str, tuple[Difference, str]]]


def describe(points: Sequence[Point], title: str) -> str:
    """Describe everything that a plot shows, as a text for its file."""
    shown = [
        [label, {figure: [str(difference), note] for figure, (difference, note) in panels.items()}]
        for label, panels in points
    ]
    return json.dumps([title, shown])


def draw(points: Sequence[Point], title: str, path: Path) -> None:
    """Draw a PNG file with a panel for each figure and the first point on top. Needs matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    labels = ["\n".join(textwrap.wrap(label, LABEL, break_on_hyphens=False)) for label, _ in points]
    lines = sum(label.count("\n") + 1.6 for label in labels)
    figure = Figure(figsize=(12, 1.6 + 0.18 * lines), layout="constrained")
    figure.suptitle(title.replace(". ", ".\n"), x=0.01, horizontalalignment="left", fontsize="medium")
    names, places = list(points[0][1]), range(len(points))
    panels = figure.subplots(1, len(names), sharex=True, sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, names, strict=True):
        shown = [panel[name] for _, panel in reversed(points)]
        for place, (difference, _) in zip(places, shown, strict=True):
            axes.errorbar(difference.mean, place, xerr=difference.half, fmt="o", color="black", capsize=3)
        axes.axvline(0, color="grey", linewidth=1)
        axes.set(title=name, xlabel="points", ylim=(-0.7, len(points) - 0.3))
        right = axes.secondary_yaxis("right")
        right.set_yticks(places, [note for _, note in shown])
        right.tick_params(length=0)
    panels[0].set_yticks(places, labels[::-1], fontsize="small")
    FigureCanvasAgg(figure).print_png(str(path), metadata={"report": describe(points, title)})


def read_description(path: Path) -> str | None:
    """Read the description in a PNG file. Returns None if there is no file or no description."""
    from PIL import Image

    if not path.is_file():
        return None
    with Image.open(path) as image:
        return image.info.get("report")
