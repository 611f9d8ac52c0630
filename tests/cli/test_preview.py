from PIL import Image

from tests.cli.conftest import run


def test_preview_draws_a_row_per_image(saved, folder, tmp_path, capsys):
    for name in ("a.png", "b.png"):
        assert run("preview", saved, folder, "--output", tmp_path / name, "--per-class", "2") == 0
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.height > 6 * 96
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert f"wrote {tmp_path / 'b.png'}" in capsys.readouterr().out
    assert run("preview", saved, "--output", tmp_path / "samples.png") == 0
    with Image.open(tmp_path / "samples.png") as picture:
        assert picture.width > 10 * 96


def test_preview_draws_any_figure_and_a_page_of_all(saved, folder, tmp_path):
    from semantic_aug.figures.figures import FIGURES

    for name in FIGURES:
        assert run("preview", saved, folder, "--output", tmp_path / f"{name}.png", "--figure", name) == 0
    assert len({(tmp_path / f"{name}.png").read_bytes() for name in FIGURES}) == len(FIGURES)
    for source in ([folder], []):
        assert run("preview", saved, *source, "--output", tmp_path / "page.html") == 0
        text = (tmp_path / "page.html").read_text(encoding="utf-8")
        assert all(f'<section id="{name}">' in text for name in FIGURES)
        assert str(tmp_path) not in text, "a page is shown to others"
        assert ("drawn by the checkpoint itself" in text) == (not source)
    assert run("preview", saved, "--output", tmp_path / "page.html", "--figure", "counts") == 0
    assert (tmp_path / "page.html").read_text(encoding="utf-8").count("<section") == 1
