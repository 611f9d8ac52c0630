import re
import subprocess

import pytest
from PIL import Image

from tests.cli.conftest import RUN, run


def test_demo_takes_what_the_others_take(saved, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("semantic_aug.cli.pipelines.IMAGES", 64)
    (folder / "sad" / "broken.png").write_bytes(b"x")
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / "sad").rename(folder / "Sad")
    assert run("demo", folder, "--checkpoint", saved, "--output", tmp_path / "a.png") == 0
    out = capsys.readouterr().out
    assert "left out 1 image that cannot be read" in out
    assert out.count("64 images, half of them augmented") == 2


@pytest.mark.parametrize("own_data", [False, True])
def test_demo(saved, folder, tmp_path, own_data):
    """In a process of its own, for it starts DataLoader workers; without the training packages."""
    command = [*RUN, "demo", *([str(folder)] if own_data else []), "--checkpoint", str(saved)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert "no class names are known" not in done.stderr
    assert ("drawn by" in done.stdout) != own_data
    for kind in ("per sample", "per batch"):
        assert re.search(rf"{kind}: 512 images", done.stdout)
    with Image.open(tmp_path / "semantic-aug-demo.png") as picture:
        assert picture.height > 3 * 96
