"""Image folders."""

import shutil

import pytest
from torchvision.datasets import ImageFolder

from semantic_aug.data.dataset import load_data
from semantic_aug.data.folder import scan_folder
from semantic_aug.data.source import DataError


def test_folders_without_images_are_refused(tmp_path, folder):
    with pytest.raises(DataError, match="no such folder"):
        scan_folder(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no such folder"):
        load_data(tmp_path / "nowhere", 1, 32)
    (tmp_path / "flat").mkdir()
    with pytest.raises(DataError, match="no sub-folders; expected one per class"):
        scan_folder(tmp_path / "flat")
    (folder / "fear").mkdir()
    (folder / "fear" / "._0.png").write_text("what macOS leaves behind")
    with pytest.raises(DataError, match="fear: no images in this class folder"):
        load_data(folder, 1, 32)


def test_what_lies_below_a_class_folder(folder, tmp_path):
    """The images and the order of torchvision's ImageFolder, but for what is hidden."""
    deep, elsewhere = folder / "sad" / "b" / "deep", tmp_path / "elsewhere"
    deep.mkdir(parents=True)
    elsewhere.mkdir()
    for target in (folder / "sad" / "zz.png", deep / "0.png", elsewhere / "9.PNG", folder / "sad" / "a.jfif"):
        shutil.copy(folder / "sad" / "0.png", target)
    (folder / "sad" / "linked").symlink_to(elsewhere)
    (elsewhere / "round").symlink_to(folder / "sad")
    (folder / "sad" / "folder.png").mkdir()
    _, files, labels = scan_folder(folder)
    found = [str(path.relative_to(folder / "sad")) for path, label in zip(files, labels, strict=True) if label == 2]
    assert sorted(set(found) - {f"{i}.png" for i in range(6)}) == ["a.jfif", "b/deep/0.png", "linked/9.PNG", "zz.png"]
    (elsewhere / "round").unlink()
    known = ImageFolder(folder, is_valid_file=lambda path: path.lower().endswith((".png", ".jfif")))
    assert [str(path) for path in scan_folder(folder)[1]] == [path for path, _ in known.samples]
    hidden = folder / "sad" / ".ipynb_checkpoints"
    hidden.mkdir()
    shutil.copy(folder / "sad" / "0.png", hidden / "0.png")
    assert len(scan_folder(folder)[1]) == len(known)
