import pytest

from semantic_aug import hub


def test_a_bundled_name_a_path_and_a_string_resolve(tmp_path, monkeypatch):
    bundled = tmp_path / "checkpoints" / "mine"
    bundled.mkdir(parents=True)
    (bundled / "config.json").touch()
    monkeypatch.setattr(hub, "BUNDLED", (tmp_path / "nowhere", tmp_path / "checkpoints"))
    assert hub.bundled() == {"mine": bundled}
    assert hub.resolve("mine") == bundled
    assert hub.resolve(bundled) == bundled
    assert hub.resolve(str(bundled)) == bundled
    with pytest.raises(FileNotFoundError, match=r"no checkpoint 'other': neither a bundled one \('mine'\)"):
        hub.resolve("other")
