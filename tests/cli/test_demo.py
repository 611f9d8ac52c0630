import subprocess

import pytest
from PIL import Image

from tests.cli.conftest import RUN, run


def test_demo_takes_what_the_others_take(saved, folder, tmp_path, capsys):
    (folder / "sad" / "broken.png").write_bytes(b"x")
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / "sad").rename(folder / "Sad")
    assert run("demo", folder, "--checkpoint", saved, "--output", tmp_path / "a.png") == 0
    assert "left out 1 image that cannot be read" in capsys.readouterr().out


@pytest.mark.parametrize("own_data", [False, True])
def test_demo(saved, folder, tmp_path, own_data):
    """Without the training packages. It prints no rates, because one measurement on a busy machine says little."""
    command = [*RUN, "demo", *([str(folder)] if own_data else []), "--checkpoint", str(saved)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("drawn by" in done.stdout) != own_data
    assert "wrote semantic-aug-demo.png\ncolumns: the original, its reconstruction, and aug" in done.stdout
    assert "images/s" not in done.stdout
    assert done.stdout.endswith(f'next: augment your own images with SemanticAugment(checkpoint="{saved}")\n')
    with Image.open(tmp_path / "semantic-aug-demo.png") as picture:
        assert picture.height > 3 * 96
