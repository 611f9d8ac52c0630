"""Figures as one HTML file that works offline, on a phone, and in dark and light mode. All pictures are inlined."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from torch import Tensor
from torchvision.transforms.v2 import functional as F

from semantic_aug._io import png_bytes, write_whole
from semantic_aug.data.dataset import ImageSet
from semantic_aug.figures.figures import Bars, Figure, Grid, imbalance
from semantic_aug.model.artifact import Artifact

NAMED = 12  # classes that the head lists
# The style of grids and bar charts, also for other pages. Colours come from variables of the page.
FIGURE_STYLE = """
.scroll { overflow-x: auto; }
.groups { display: flex; flex-wrap: wrap; gap: 1.2rem 2.5rem; }
.groups .scroll { max-width: 100%; }
.groups tbody th { min-width: 5.5rem; }
.tiles { border-collapse: separate; border-spacing: 3px; margin-left: -3px; font-size: 0.8rem; }
.tiles th { padding: 0; font-weight: 400; color: var(--muted); text-align: center; vertical-align: bottom;
  line-height: 1.2; }
.tiles thead th { padding-bottom: 2px; font-size: 0.72rem; white-space: pre-line; }
.tiles tbody th { text-align: left; vertical-align: middle; padding-right: 0.6rem; white-space: nowrap;
  position: sticky; left: 0; background: var(--paper); }
.tiles td { padding: 0; text-align: center; vertical-align: top; }
.tiles img { display: block; width: var(--tile, clamp(52px, 8vw, 80px)); height: auto; border-radius: 3px; }
.tiles small { color: var(--muted); font-size: 0.7rem; white-space: nowrap; }
.tiles small.wrong { color: var(--wrong); }
.bars { border-collapse: collapse; width: 100%; max-width: 40rem; font-size: 0.85rem; }
.bars th { font-weight: 400; text-align: left; white-space: nowrap; padding: 2px 0.8rem 2px 0; width: 1%; }
.bars td { padding: 2px 0; white-space: nowrap; font-variant-numeric: tabular-nums; }
.bars i { display: inline-block; height: 0.9rem; border-radius: 2px; background: var(--accent);
  vertical-align: -2px; margin-right: 0.5rem; }
"""

STYLE = (
    """
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1f24; --muted: #5c6670; --line: #e3e6ea;
  --accent: #3b6ea8; --wrong: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #15181c; --ink: #e6e9ec; --muted: #98a2ad; --line: #2b3138; --accent: #6fa0d8; --wrong: #ff8a80; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 2.5rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 0.5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 0 0 0.35rem; }
p { max-width: 44rem; margin: 0 0 1rem; }
section { border-top: 1px solid var(--line); padding-top: 1.6rem; margin-top: 2.2rem; }
section > p, nav, footer { color: var(--muted); }
nav { font-size: 0.9rem; margin-top: 1.4rem; line-height: 1.9; }
nav a { color: inherit; margin-right: 1rem; white-space: nowrap; }
a { text-underline-offset: 3px; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(16rem, 42%), 1fr)); gap: 1.1rem 1.5rem;
  margin: 1.8rem 0 0; }
dt { color: var(--muted); font-size: 0.8rem; }
dd { margin: 0; font-size: 1.05rem; font-variant-numeric: tabular-nums; }
dd small { color: var(--muted); font-size: 0.8rem; display: block; line-height: 1.35; }
footer { border-top: 1px solid var(--line); margin-top: 2.5rem; padding-top: 1rem; font-size: 0.85rem; }
"""
    + FIGURE_STYLE
)


def page(artifact: Artifact, name: str, sources: ImageSet, figures: Mapping[str, Figure], command: str) -> str:
    """The whole page: a description of the checkpoint ``name``, and then a section for each figure.

    The figures are drawn from ``sources``. The last line of the page names the ``command`` that made it.
    """
    if sources.name is None:
        data = "The source images are drawn by the checkpoint itself and show nobody."
    else:
        data = f"The source images are from {sources.name} ({thousands(len(sources.images))} images)."
    links = "".join(f'<a href="#{key}">{escape(figure.title)}</a> ' for key, figure in figures.items())
    sections = "\n".join(
        f'<section id="{key}">\n<h2>{escape(figure.title)}</h2>\n<p>{escape(figure.caption)}</p>\n'
        f"{figure_html(figure)}\n</section>"
        for key, figure in figures.items()
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{escape(name)}: semantic augmentation</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{escape(name)}</h1>
<p>What this checkpoint does to images: it encodes an image, moves its latent by noise with the covariance of the
image's class, and decodes it. {escape(data)}</p>
<dl>
{facts(artifact)}
</dl>
<nav aria-label="Figures">{links}</nav>
</header>
<main>
{sections}
</main>
<footer>Made by <code>{escape(command)}</code></footer>
</body>
</html>
"""


def facts(artifact: Artifact) -> str:
    """The content of the checkpoint's config as terms and descriptions."""
    network, recommended, error = artifact.network, artifact.recommended, artifact.reconstruction
    count = artifact.statistics.count
    kind = "grey" if network.channels == 1 else "RGB"
    most_first = count.argsort(descending=True, stable=True).tolist()
    named = [f"{artifact.classes[label]} {thousands(int(count[label]))}" for label in most_first]
    entries = [
        ("Classes", f"{len(named)}", ", ".join(named[:NAMED]) + (", ..." if len(named) > NAMED else "")),
        (
            "Training images",
            thousands(int(count.sum())),
            f"imbalance {imbalance(count):.3g}, largest class to smallest",
        ),
        (
            "Image",
            f"{network.image_size} \u00d7 {network.image_size}, {kind}",
            f"latent of {network.latent_dim} numbers",
        ),
        (
            "Recommended",
            f"{recommended.mode}, strength {recommended.strength:g}",
            f"p {recommended.p:g}, shrinkage {recommended.shrinkage}",
        ),
    ]
    for key, term in (("l1", "Reconstruction error, L1 on [-1, 1]"), ("lpips", "Reconstruction error, LPIPS")):
        if f"{key}_mean" in error:
            number = f"{error[f'{key}_mean']:.4f} ± {error.get(f'{key}_std', 0):.4f}"
            entries.append((term, number, f"over {thousands(int(error.get('images', 0)))} held-out images"))
    return "\n".join(
        f"<div><dt>{escape(term)}</dt><dd>{escape(value)}<small>{escape(note)}</small></dd></div>"
        for term, value, note in entries
    )


def figure_html(figure: Figure) -> str:
    """A figure without its title and caption. ``FIGURE_STYLE`` is its style."""
    if isinstance(figure, Bars):
        longest = max(1, *figure.values.values())
        return bars((name, value / longest, thousands(value)) for name, value in figure.values.items())
    return tiles(figure)


def tiles(grid: Grid, notes: Mapping[str, Sequence[tuple[str, bool]]] | None = None) -> str:
    """Tables of pictures. ``notes`` has a text below each picture and whether it is marked as wrong, by column."""

    def cell(row: int, column: str) -> str:
        alt, note = f"{grid.rows[row]}, {' '.join(column.split())}", ""
        if notes and column in notes:
            text, wrong = notes[column][row]
            note = f"<small{' class=wrong' * wrong}>{escape(text)}</small>"
        return f'<td><img alt="{escape(alt)}" src="{data_url(grid.columns[column][row])}">{note}</td>'

    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in grid.columns)
    tables = []
    group = grid.group or len(grid.rows)
    for start in range(0, len(grid.rows), group):
        body = "\n".join(
            f'<tr><th scope="row">{escape(grid.rows[row])}</th>{"".join(cell(row, name) for name in grid.columns)}</tr>'
            for row in range(start, min(start + group, len(grid.rows)))
        )
        tables.append(
            f'<div class="scroll" role="region" aria-label="{escape(grid.title)}" tabindex="0"><table class="tiles">\n'
            f"<thead><tr><td></td>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
        )
    return f'<div class="groups">{"".join(tables)}</div>' if len(tables) > 1 else tables[0]


def bars(rows: Iterable[tuple[str, float, str]]) -> str:
    """A table of bars, each with a name, a length in [0, 1], and a number to write at its end."""
    lines = [
        f'<tr><th scope="row">{escape(name)}</th><td><i style="width:{80 * length:.1f}%"></i>{escape(text)}</td></tr>'
        for name, length, text in rows
    ]
    return f'<table class="bars"><tbody>{"".join(lines)}</tbody></table>'


def data_url(image: Tensor) -> str:
    """An image uint8 (C, H, W) as a PNG in a URL."""
    return "data:image/png;base64," + base64.b64encode(png_bytes(F.to_pil_image(image.cpu()))).decode()


def thousands(number: int) -> str:
    """Format a number with thin spaces, such as "28 709"."""
    return f"{number:,}".replace(",", "\u202f")


def save(text: str, path: str | Path) -> None:
    """Write a page atomically, so that a viewer never sees an incomplete file."""
    write_whole(text.encode(), Path(path))
