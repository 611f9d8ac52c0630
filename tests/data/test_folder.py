"""Image folders."""

import os
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


def test_a_link_that_brings_images_of_another_class_is_refused(folder):
    (folder / "angry" / "up").symlink_to("..")
    with pytest.raises(DataError, match=r"is also a folder of the class angry; remove the link that leads there"):
        scan_folder(folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_cannot_be_read_is_named(folder):
    (folder / "sad" / "secret").mkdir(mode=0)
    with pytest.raises(DataError, match=r"sad/secret: this folder cannot be read \(Permission denied\)"):
        scan_folder(folder)


def test_a_folder_that_fails_to_be_listed_is_named(folder, monkeypatch):
    scandir, broken = os.scandir, folder / "sad" / "broken"
    broken.mkdir()

    def fail(path):
        if os.fspath(path) == str(broken):
            raise OSError(5, "Input/output error", str(broken))
        return scandir(path)

    monkeypatch.setattr("os.scandir", fail)
    with pytest.raises(DataError, match=r"sad/broken: this folder cannot be read \(Input/output error\)"):
        scan_folder(folder)


def test_a_class_whose_name_is_not_utf8_is_refused_before_any_work(folder):
    os.rename(folder / "sad", os.fsencode(folder) + b"/s\xe4d")
    with pytest.raises(DataError, match=r"the class name 's\\udce4d' is not UTF-8, so it cannot be stored"):
        load_data(folder, 1, 32)


def test_an_image_whose_name_is_not_utf8_is_kept(folder, tmp_path):
    os.rename(folder / "sad" / "0.png", os.fsencode(folder) + b"/sad/\xe4.png")
    for _ in range(2):
        data = load_data(folder, 1, 32, cache=tmp_path / "cache")
        assert len(data) == 18
    assert os.fsencode(data.files[-1]).endswith(b"/sad/\xe4.png")
