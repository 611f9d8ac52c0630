import base64
import io
import re
from html.parser import HTMLParser
from itertools import chain
from pathlib import Path

import pytest
import torch
from PIL import Image

from semantic_aug.data.dataset import ImageSet
from semantic_aug.figures.figures import FIGURES
from semantic_aug.figures.html import FIGURE_STYLE, bars, page, save, tiles
from tests.conftest import build_artifact

VOID = {"meta", "img"}


class Reader(HTMLParser):
    """Elements with their attributes; all must be closed in order."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag):
        return [attributes for found, attributes in self.found if found == tag]


@pytest.fixture(scope="module")
def drawn():
    artifact = build_artifact(classes=["<script>alert(1)</script>", 'a "b" & c', "sad"])
    artifact.reconstruction = {"images": 3589, "l1_mean": 0.137774, "l1_std": 0.035443}
    images = torch.randint(0, 256, (6, 1, 32, 32), dtype=torch.uint8)
    sources = ImageSet(
        images,
        torch.tensor([0, 1, 2, 0, 1, 2]),
        artifact.classes,
        [Path(f"{i}") for i in range(6)],
        name="<i>faces</i>",
    )
    figures = {name: draw(artifact, sources) for name, draw in FIGURES.items()}
    return artifact, figures, page(artifact, "tiny", sources, figures, "semantic-aug preview tiny <i>faces</i>")


def test_the_page_is_well_formed_and_asks_the_network_for_nothing(drawn):
    _, _, text = drawn
    reader = Reader(text)
    assert not {"script", "link", "iframe"} & {tag for tag, _ in reader.found}
    for _, attributes in reader.found:
        for name in ("src", "href", "srcset", "style"):
            value = attributes.get(name) or ""
            assert value.startswith(("data:image/png;base64,", "#", "width:", "--across:")) or not value
    assert not re.search(r"url\(|@import|//", FIGURE_STYLE)
    (policy,) = [meta["content"] for meta in reader.all("meta") if "http-equiv" in meta]
    assert policy.startswith("default-src 'none'")


def test_every_picture_has_an_alt_text_and_is_the_picture(drawn):
    _, figures, text = drawn
    found = Reader(text).all("img")
    grids = [figure for name, figure in figures.items() if name != "counts"]
    assert len(found) == sum(len(grid.rows) * len(grid.columns) for grid in grids)
    assert all(attributes["alt"] for attributes in found)
    assert {"sad, decode 0.35 1", "sad, source", "sad 1, -2"} <= {attributes["alt"] for attributes in found}
    expected = list(
        chain(*([grid.columns[c][r] for r in range(len(grid.rows)) for c in grid.columns] for grid in grids))
    )
    for attributes, image in zip(found, expected, strict=True):
        file = io.BytesIO(base64.b64decode(attributes["src"].partition(",")[2]))
        assert Image.open(file).tobytes() == bytes(image.flatten().tolist())


def test_sections_captions_and_figures_of_the_checkpoint_are_there(drawn):
    _, figures, text = drawn
    reader = Reader(text)
    assert [section["id"] for section in reader.all("section")] == [*FIGURES, "checkpoint"]
    assert [link["href"] for link in reader.all("a")] == [f"#{name}" for name in (*figures, "checkpoint")]
    for words in (
        "0.1378 ± 0.0354",
        "3\u202f589 held-out",
        "detail, strength 0.35",
        "sad 50",
        "32 \u00d7 32, grey",
        "150",
    ):
        assert words in text
    assert "LPIPS" not in text, "it has none"
    assert "from &lt;i&gt;faces&lt;/i&gt; (6 images)" in text
    assert "&lt;script&gt;alert(1)" in text


def test_originals_beside_augmentations_come_first_and_words_are_few(drawn):
    _, _, text = drawn
    assert next(iter(FIGURES)) == "pairs"
    paragraphs = re.findall(r"<p>(.*?)</p>", text, flags=re.DOTALL)
    assert len(paragraphs) == 1 + len(FIGURES)
    assert len(" ".join(paragraphs).split()) < 400, "a screen holds some 300 words"


def test_a_group_of_rows_is_a_table_of_its_own_and_two_share_the_width(drawn):
    _, figures, _ = drawn
    tables = Reader(tiles(figures["directions"])).all("table")
    assert [table["style"] for table in tables] == ["--across:12"] * 3, "5 images and the names, twice"
    assert [table["style"] for table in Reader(tiles(figures["samples"])).all("table")] == ["--across:10"]


def test_notes_stand_below_their_pictures(drawn):
    grid = drawn[1]["augmentations"]
    notes = {"source": [("sad 90%", False), ("<b>", True), ("sad 1%", False)]}
    reader = Reader(tiles(grid, notes))
    assert reader.all("small") == [{}, {"class": "wrong"}, {}]
    assert "&lt;b&gt;" in tiles(grid, notes)


def test_bars_are_in_proportion():
    reader = Reader(bars([("a", 1.0, "1 000"), ("<b>", 0.25, "250")]))
    assert [bar["style"] for bar in reader.all("i")] == ["width:80.0%", "width:20.0%"]


def test_save_leaves_nothing_beside(tmp_path):
    save("text é", tmp_path / "a.html")
    save("text ö", tmp_path / "a.html")
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == "text ö"
