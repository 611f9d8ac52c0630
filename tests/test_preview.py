import torch
from PIL import Image

from semantic_aug import preview


def test_overview_has_a_row_per_image_and_a_column_per_setting(artifact, tmp_path):
    images = torch.randint(0, 256, (3, 1, 32, 32), dtype=torch.uint8)
    picture = preview.overview(artifact, images, torch.tensor([0, 1, 2]), strengths=(0.5,))
    cell = 96 + preview.GAP
    assert picture.size == (preview.MARGIN + 5 * cell, preview.HEADER + 3 * cell)
    source = picture.getpixel((preview.MARGIN + 1, preview.HEADER + cell + 1))
    assert source == (int(images[1, 0, 0, 0]),) * 3
    again = preview.overview(artifact, images, torch.tensor([0, 1, 2]), strengths=(0.5,))
    assert picture.tobytes() == again.tobytes()
    preview.save(picture, tmp_path / "sub" / "a.png")
    with Image.open(tmp_path / "sub" / "a.png") as file:
        assert file.size == picture.size
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["a.png"]


def test_images_come_to_the_device_of_the_artifact(artifact, monkeypatch):
    monkeypatch.setattr(preview, "semantic_augment_image", lambda images, *_, **__: images)  # autocast knows no "meta"
    images = torch.randint(0, 256, (3, 1, 32, 32), dtype=torch.uint8)
    columns = preview.overview_columns(artifact.to("meta"), images, torch.tensor([0, 1, 2]))
    assert {column.device.type for column in columns.values()} == {"meta"}


def test_samples_are_a_row_per_class_and_repeat(artifact):
    picture = preview.samples(artifact, columns=4)
    cell = 96 + preview.GAP
    assert picture.size == (preview.MARGIN + 4 * cell, preview.HEADER + 3 * cell)
    assert picture.tobytes() == preview.samples(artifact, columns=4).tobytes()
    assert picture.tobytes() != preview.samples(artifact, columns=4, seed=1).tobytes()


def test_first_of_each_class():
    labels = torch.tensor([2, 0, 2, 0, 2])
    assert preview.first_of_each_class(labels).tolist() == [1, 0]
    assert preview.first_of_each_class(labels, 2).tolist() == [1, 3, 0, 2]
