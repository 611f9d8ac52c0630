"""Forest plots: differences with their intervals, in characters or as a picture."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.report.rows import Difference


def text(points: Sequence[tuple[str, Difference]], width: int = 61) -> str:
    """Draw with characters, where o is the mean, - its interval and | zero."""
    ends = [d.mean + sign * (d.half or 0) for _, d in points for sign in (-1, 1)]
    low, high = min(0.0, *ends), max(0.0, *ends)
    scale = (width - 1) / ((high - low) or 1)

    def column(value: float) -> int:
        return round((value - low) * scale)

    lines = []
    longest = max(len(label) for label, _ in points)
    for label, d in points:
        line = [" "] * width
        for place in range(column(d.mean - (d.half or 0)), column(d.mean + (d.half or 0)) + 1):
            line[place] = "-"
        line[column(0)] = "|"
        line[column(d.mean)] = "o"
        lines.append(f"{label:<{longest}} {''.join(line)} {d}")
    return "\n".join(lines)


def picture(points: Sequence[tuple[str, Difference]], title: str, path: Path) -> None:
    """Draw as a PNG file, which needs matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 0.8 + 0.32 * len(points)), layout="constrained")
    axes = figure.add_subplot()
    for place, (_, d) in enumerate(reversed(points)):
        axes.errorbar(d.mean, place, xerr=d.half, fmt="o", color="black", capsize=3)
    axes.set_yticks(range(len(points)), [label for label, _ in reversed(points)])
    axes.axvline(0, color="grey", linewidth=1)
    axes.set_xlabel(title)
    FigureCanvasAgg(figure).print_png(str(path))
