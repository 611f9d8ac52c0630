"""The completion script, in the shell that it is for."""

import shlex
import shutil
import subprocess
import sys

import pytest

from semantic_aug.cli import main as cli

COMPLETE = """
source {script}
COMP_WORDS=({words}) COMP_CWORD={position}
_shtab_semantic_aug semantic-aug {last} {previous}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    pytest.importorskip("shtab", reason="shtab is not installed (extra completion)")
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    command = [sys.executable, "-m", "semantic_aug", "--print-completion", "bash"]
    path = tmp_path_factory.mktemp("completion") / "semantic-aug"
    path.write_text(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return path


def completed(script, folder, *words):
    """What bash offers for the last of ``words``."""
    words = ("semantic-aug", *words)
    text = COMPLETE.format(
        script=shlex.quote(str(script)),
        words=shlex.join(words),
        position=len(words) - 1,
        last=shlex.quote(words[-1]),
        previous=shlex.quote(words[-2]),
    )
    done = subprocess.run(["bash", "-c", text], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return set(done.stdout.split())


def test_verbs_options_choices_and_files(script, tmp_path):
    (tmp_path / "faces").mkdir()
    (tmp_path / "figures.json").touch()
    assert completed(script, tmp_path, "ins") == {"inspect"}
    assert completed(script, tmp_path, "e") >= {"encode", "evaluate"}
    assert completed(script, tmp_path, "train", "--prec") == {"--precision"}
    assert completed(script, tmp_path, "train", "--precision", "f") == {"fp32", "fp16"}
    assert completed(script, tmp_path, "train", "fa") == {"faces"}
    assert completed(script, tmp_path, "fit", "f") == {"faces", "figures.json"}
    assert completed(script, tmp_path, "evaluate", "--json", "fi") == {"figures.json"}


def test_without_shtab_it_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(SystemExit) as caught:
        cli.main(["--print-completion", "bash"])
    assert caught.value.code == 2
    assert 'pip install "semantic-aug[completion]"' in capsys.readouterr().err
