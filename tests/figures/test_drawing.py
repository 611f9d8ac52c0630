import torch
from PIL import Image

from semantic_aug.figures import drawing


def test_overview_has_a_row_per_image_and_a_column_per_setting(artifact, tmp_path):
    images = torch.tensor([10, 100, 200], dtype=torch.uint8)[:, None, None, None].expand(3, 1, 32, 32)
    picture = drawing.overview(artifact, images, torch.tensor([0, 1, 2]))
    cell = 96 + drawing.GAP
    assert picture.size == (drawing.MARGIN + 7 * cell, drawing.HEADER + 3 * cell)
    assert picture.getpixel((drawing.MARGIN + 1, drawing.HEADER + cell + 1)) == (100,) * 3
    again = drawing.overview(artifact, images, torch.tensor([0, 1, 2]))
    assert picture.tobytes() == again.tobytes()
    drawing.save(picture, tmp_path / "sub" / "a.png")
    with Image.open(tmp_path / "sub" / "a.png") as file:
        assert file.size == picture.size
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["a.png"]


def test_an_overview_of_many_images_shows_some_of_them(artifact):
    images = torch.arange(20, dtype=torch.uint8)[:, None, None, None].expand(20, 1, 32, 32)
    picture = drawing.overview(artifact, images, torch.arange(20) % 3)
    tops = range(drawing.HEADER, picture.height, 96 + drawing.GAP)
    assert [picture.getpixel((drawing.MARGIN, top))[0] for top in tops] == [0, 3, 6, 9, 12, 15, 19]


def test_images_come_to_the_device_of_the_artifact(artifact, monkeypatch):
    monkeypatch.setattr(drawing, "semantic_augment_image", lambda images, *_, **__: images)  # autocast knows no "meta"
    images = torch.randint(0, 256, (3, 1, 32, 32), dtype=torch.uint8)
    columns = drawing.overview_columns(artifact.to("meta"), images, torch.tensor([0, 1, 2]))
    assert {column.device.type for column in columns.values()} == {"meta"}


def test_samples_are_a_row_per_class_and_repeat(artifact):
    picture = drawing.samples(artifact, columns=4)
    cell = 96 + drawing.GAP
    assert picture.size == (drawing.MARGIN + 4 * cell, drawing.HEADER + 3 * cell)
    assert picture.tobytes() == drawing.samples(artifact, columns=4).tobytes()
    assert picture.tobytes() != drawing.samples(artifact, columns=4, seed=1).tobytes()


def test_first_of_each_class():
    labels = torch.tensor([2, 0, 2, 0, 2])
    assert drawing.first_of_each_class(labels).tolist() == [1, 0]
    assert drawing.first_of_each_class(labels, 2).tolist() == [1, 3, 0, 2]
