from tests.cli.conftest import run


def test_expand_says_so_too(measured, folder, tmp_path, capsys):
    assert run("expand", measured, folder, "--output", tmp_path / "o", "--per-class", "2") == 0
    out, err = capsys.readouterr()
    assert "18 originals, 0 new images: every class has as many images as are asked for\n" in out
    assert "warning: these images do not look like" in err
    written = tmp_path / "o"
    assert out.endswith(f'next: train on it as on any image folder, for example with ImageFolder("{written}")\n')
