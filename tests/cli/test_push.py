from tests.cli.conftest import run
from tests.hub_server import TOKEN


def test_push_and_every_verb_takes_what_was_pushed(saved, folder, tmp_path, capsys, line, hub, monkeypatch):
    assert run("push", saved, "user/repo") == 2
    assert "log in with `hf auth login`, or set HF_TOKEN" in line()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert run("push", saved, "user/repo", "--tag", "v1.0", "--private", "--license", "mit", "--message", "First") == 0
    repo = hub.repos["user/repo"]
    assert f'checkpoint="user/repo@{repo.refs["main"]}"' in capsys.readouterr().out
    assert repo.private
    assert repo.tags == {"v1.0": repo.refs["main"]}
    assert run("push", saved, "user/repo", "--tag", "v1.0") == 2
    assert "has a tag 'v1.0'" in line()
    assert run("inspect", "user/repo@v1.0") == 0
    assert run("preview", "user/repo", folder, "--output", tmp_path / "a.png") == 0
    assert run("fit", "user/repo", folder, "--output", tmp_path / "fitted") == 0
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    assert run("inspect", "user/other") == 2
    assert "nor on the Hub: your token (HF_TOKEN, `hf auth login`) is refused" in line()
