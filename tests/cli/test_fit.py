import torch

from semantic_aug import Artifact
from tests.cli.conftest import run
from tests.conftest import build_artifact, write_folder


def test_fit_gives_new_classes(saved, tmp_path, capsys):
    folder = write_folder(tmp_path / "pets", 5, classes=["cat", "dog"])
    (folder / "cat" / "broken.png").write_bytes(b"x")
    assert run("fit", saved, folder, "--output", tmp_path / "fitted", "--skip-bad") == 0
    out = capsys.readouterr().out
    assert "left out 1 image" in out
    written = tmp_path / "fitted"
    assert out.endswith(f'next: use it with SemanticAugment(checkpoint="{written}")\n')
    fitted, original = Artifact.from_pretrained(tmp_path / "fitted"), Artifact.from_pretrained(saved)
    assert fitted.classes == ["cat", "dog"]
    assert fitted.statistics.count.tolist() == [5, 5]
    assert fitted.reconstruction["images"] == 10
    z = torch.randn(2, 8)
    assert torch.equal(fitted.decode(z), original.decode(z))


def test_fit_does_not_make_the_networks_larger(tmp_path, folder):
    build_artifact().save(tmp_path / "half", half=True)
    assert run("fit", tmp_path / "half", folder, "--output", tmp_path / "fitted") == 0
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("half", "fitted")]
    assert sizes[0] == sizes[1]


def test_fit_says_what_the_networks_make_of_the_images(measured, tmp_path, capsys):
    folder = write_folder(tmp_path / "pets", 5, classes=["cat", "dog"])
    (folder / "emu").mkdir()
    (folder / "cat" / "0.png").rename(folder / "emu" / "0.png")
    assert run("fit", measured, folder, "--output", tmp_path / "fitted") == 0
    out, err = capsys.readouterr()
    assert "the pooled one is taken: emu (1)\n" in out
    fitted = Artifact.from_pretrained(tmp_path / "fitted")
    error = fitted.reconstruction["l1_mean"]
    assert f"reconstruction error (L1) {error:.3f}; of {measured} on images of its own 0.100" in out
    assert "warning: these images do not look like" in err
    assert fitted.training["fitted_from"] == "measured"
