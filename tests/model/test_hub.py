"""Names, directories and the Hub: huggingface_hub's own client against a Hub on this machine (hub_server.py)."""

import json
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from semantic_aug import Artifact, ArtifactError, SemanticAugment, SemanticAugmentBatch
from semantic_aug.cli import main as cli
from semantic_aug.model import hub as module
from semantic_aug.model.recommended import Recommended
from tests.conftest import build_artifact
from tests.forks import start
from tests.hub_server import TOKEN, run_client

NEEDED = {"config.json", "model.safetensors", "statistics.safetensors"}
LARGE = "^GET /[0-9a-f]{64}"  # of the other origin


@pytest.fixture
def repo(hub, saved):
    """``user/repo`` on the Hub, with files that are none of an artifact's."""
    repo = hub.repo("user/repo", saved)
    repo.commit({"README.md": b"# a card\n", "optimizer.bin": b"x" * 1000, ".gitattributes": b""})
    return repo


def another(hub, tmp_path):
    """A new state of ``user/repo``."""
    changed = build_artifact()
    changed.recommended = Recommended(strength=0.7)
    return hub.commit("user/repo", changed.save(tmp_path / "changed"))


def asked(hub, call):
    """What a call asks of the Hub, and what it returns."""
    before = len(hub.requests)
    result = call()
    return [line for _, line, _ in hub.requests[before:]], result


# --- What a name means --------------------------------------------------------------------------------------------


def test_a_bundled_name_a_path_and_a_string_resolve(tmp_path, monkeypatch):
    bundled = tmp_path / "checkpoints" / "mine"
    bundled.mkdir(parents=True)
    (bundled / "config.json").touch()
    monkeypatch.setattr(module, "BUNDLED", (tmp_path / "nowhere", tmp_path / "checkpoints"))
    assert module.bundled() == {"mine": bundled}
    assert module.resolve("mine") == bundled
    assert module.resolve(bundled) == bundled
    assert module.resolve(str(bundled)) == bundled
    with pytest.raises(FileNotFoundError, match=r"no checkpoint 'other': neither a bundled one \('mine'\)"):
        module.resolve("other")


def test_a_folder_beside_a_copy_of_the_package_hides_no_bundled_checkpoint(tmp_path, monkeypatch):
    """It may be a user's own, in whose project the package was copied."""
    inside, beside = tmp_path / "semantic_aug" / "checkpoints", tmp_path / "checkpoints"
    for directory in (inside / "a", beside / "a", beside / "own"):
        directory.mkdir(parents=True)
        (directory / "config.json").touch()
    monkeypatch.setattr(
        module, "BUNDLED", [tmp_path / root.relative_to(module.PACKAGE.parent) for root in module.BUNDLED]
    )
    assert module.bundled() == {"a": inside / "a", "own": beside / "own"}
    assert module.resolve("a") == inside / "a"


@pytest.mark.parametrize("name", ["other", "a/b/c", "/a/b", "./a/b", "a/b@", "a b/c", "../b", "~/b", "a\\b"])
def test_what_is_no_hub_id_is_not_asked_for(name, hub):
    with pytest.raises(FileNotFoundError, match="nor a Hub id such as 'user/repo'"):
        module.resolve(name)
    with pytest.raises(FileNotFoundError, match="nor a Hub id such as 'user/repo'"):
        module.pin(name)
    assert hub.requests == []


def test_a_directory_wins_and_a_path_is_always_one(hub, repo, saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="nor a Hub id"):
        Artifact.from_pretrained(Path("user/repo"))
    build_artifact().save("user/repo")
    assert Artifact.from_pretrained("user/repo").directory == tmp_path / "user" / "repo"
    augment = SemanticAugment(checkpoint="user/repo")
    monkeypatch.chdir("/")  # it was found, and stays found
    assert augment.artifact.directory == tmp_path / "user" / "repo"
    monkeypatch.chdir(tmp_path)
    assert hub.requests == []
    with pytest.raises(ValueError, match="is the local directory user/repo, which has no revisions"):
        Artifact.from_pretrained("user/repo", revision="v1.0")
    with pytest.raises(ValueError, match="names a revision already"):
        Artifact.from_pretrained("user/other@v1", revision="v2")


# --- Loading ------------------------------------------------------------------------------------------------------


def test_the_first_load_downloads_and_the_second_needs_no_hub(hub, repo, saved):
    lines, first = asked(hub, lambda: Artifact.from_pretrained("user/repo"))
    assert not [line for line in lines if "optimizer" in line or "gitattributes" in line]
    assert {path.name for path in first.directory.iterdir()} == NEEDED | {"README.md"}
    assert first.directory.name == repo.refs["main"]
    assert first.card == "# a card\n"
    assert first.fingerprint == Artifact.from_pretrained(saved).fingerprint
    lines, again = asked(hub, lambda: Artifact.from_pretrained("user/repo"))
    assert lines == ["GET /api/models/user/repo"]
    hub.close()
    with pytest.warns(UserWarning, match=f"cannot be asked .*using commit {repo.refs['main']} of user/repo"):
        again = Artifact.from_pretrained("user/repo")
    assert again.fingerprint == first.fingerprint


def test_a_commit_asks_nothing_and_stays_where_it_is(hub, repo, tmp_path):
    old = Artifact.from_pretrained("user/repo").directory
    repo.tags["v1.0"] = old.name
    new = another(hub, tmp_path)
    lines, pinned = asked(hub, lambda: Artifact.from_pretrained("user/repo", revision=old.name))
    assert lines == []
    assert pinned.directory == old
    assert Artifact.from_pretrained("user/repo@v1.0").directory == old
    assert Artifact.from_pretrained(f"user/repo@{new}").recommended.strength == 0.7  # not in the cache yet
    moved = Artifact.from_pretrained("user/repo")
    assert moved.directory.name == new
    assert pinned.recommended.strength == 0.35


def test_large_files_come_from_another_origin_which_never_sees_the_token(hub, saved):
    hub.repo("user/private", saved, private=True)
    with pytest.raises(FileNotFoundError, match=r"no such repository, or a private one that your token \(HF_TOKEN"):
        Artifact.from_pretrained("user/private")
    Artifact.from_pretrained("user/private", token=TOKEN)
    sent = [(origin, headers.get("authorization")) for origin, _, headers in hub.requests[1:]]
    assert sent.count(("cdn", None)) == 2
    assert set(sent) == {("cdn", None), ("hub", f"Bearer {TOKEN}")}


def test_a_renamed_repository_is_found(hub, repo):
    hub.renamed["old/name"] = "user/repo"
    assert Artifact.from_pretrained("old/name").directory.name == repo.refs["main"]


def test_offline(hub, repo, monkeypatch):
    from huggingface_hub import constants

    with pytest.raises(FileNotFoundError, match=r"not \(whole\) in the cache, and local_files_only forbids"):
        Artifact.from_pretrained("user/repo", local_files_only=True)
    assert hub.requests == []
    directory = Artifact.from_pretrained("user/repo").directory
    lines, artifact = asked(hub, lambda: Artifact.from_pretrained("user/repo", local_files_only=True))
    assert lines == []
    assert artifact.directory == directory
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    lines, artifact = asked(hub, lambda: Artifact.from_pretrained("user/repo"))  # without a warning: it was asked for
    assert lines == []
    assert artifact.directory == directory
    with pytest.raises(FileNotFoundError, match=r"HF_HUB_OFFLINE.* user/repo is not \(whole\) in the cache"):
        Artifact.from_pretrained("user/repo@v9")


# --- The Hub in trouble -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", ["hang", "drop", 500, 503, 429])
def test_a_hub_in_trouble(trouble, hub, repo, monkeypatch):
    """It is asked once, and not waited for. Without the files that is an error; with them it goes on."""
    monkeypatch.setattr(module, "TIMEOUT", 0.5)
    hub.fault("", trouble)
    with pytest.raises(FileNotFoundError, match=r"the Hub cannot be asked \(.*user/repo is not \(whole\) in the cache"):
        Artifact.from_pretrained("user/repo")
    assert len(hub.requests) == 1
    hub.faults.clear()
    with monkeypatch.context() as patch:
        patch.setattr(module, "TIMEOUT", 60)  # enough for any machine, for now it answers
        directory = Artifact.from_pretrained("user/repo").directory
    hub.fault("", trouble)
    before = len(hub.requests)
    with pytest.warns(UserWarning, match="the Hub cannot be asked"):
        assert Artifact.from_pretrained("user/repo").directory == directory
    with pytest.raises(FileNotFoundError, match="the Hub cannot be asked"):
        Artifact.from_pretrained("user/repo", force_download=True)
    assert len(hub.requests) - before == 2


def run_endless(hub, tmp_path, *words):
    """The exit code and output of a command: a request that never ends stays in its process.

    The client's cache is that of this process.
    """
    output, limits = tmp_path / "output", {"PATIENCE": 2.0, "TRANSFER": 1.0}
    environment = hub.environment(tmp_path / "hub-home") | {"HF_TOKEN": TOKEN}
    process = start(run_client, environment, limits, *map(str, words), output=output)
    process.join(300)
    return process.exitcode, output.read_text()


# An answer that is slow is the harder one: every byte begins the client's own time-out anew.
ENDLESS_TROUBLE = pytest.mark.parametrize("trouble", [pytest.param("hang", marks=pytest.mark.slow), "slow"])


@ENDLESS_TROUBLE
def test_a_hub_that_never_ends_an_answer_is_given_up(hub, repo, tmp_path, trouble):
    commit = Artifact.from_pretrained("user/repo").directory.name
    hub.fault("", trouble)
    code, said = run_endless(hub, tmp_path, "inspect", "user/repo")
    assert code == 0
    reason = "the Hub cannot be asked (TimeoutError: it took longer than 2 seconds)"
    assert f"{reason}; using commit {commit} of user/repo from the cache" in said


@ENDLESS_TROUBLE
def test_a_download_that_never_ends_is_given_up(hub, repo, tmp_path, trouble):
    hub.fault(LARGE, trouble)
    code, said = run_endless(hub, tmp_path, "inspect", "user/repo")
    assert code == 2
    assert "the download broke off (TimeoutError: it took longer than 1 seconds); try again" in said


def test_the_time_for_a_transfer_is_read_from_the_environment(monkeypatch):
    monkeypatch.setenv("SEMANTIC_AUG_HUB_TIMEOUT", "1")
    command = [sys.executable, "-c", "from semantic_aug.model import hub; print(hub.TRANSFER)"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "1.0\n"


@ENDLESS_TROUBLE
def test_a_push_that_never_ends_is_given_up(hub, saved, tmp_path, trouble):
    hub.fault("/preupload/|/commit/|^PUT", trouble)
    code, said = run_endless(hub, tmp_path, "push", saved, "user/new")
    assert code == 1
    assert "the push failed (TimeoutError: it took longer than 1 seconds)" in said


@pytest.mark.parametrize("answer", ["page", "text"])
def test_a_page_that_is_no_answer(hub, repo, answer):
    """As the log-in page of a hotel gives for every address, or JSON of another kind."""
    hub.fault("GET", answer)
    with pytest.raises(FileNotFoundError, match="the Hub cannot be asked"):
        Artifact.from_pretrained("user/repo")


@pytest.mark.parametrize(
    ("checkpoint", "reason"),
    [
        ("user/none", "no such repository, or a private one"),
        ("user/gated", "access is granted on request"),
        ("user/repo@v9", "it has no revision 'v9'; a branch, a tag or all 40 digits"),
        ("user/repo@abc1234", "it has no revision 'abc1234'"),
        (f"user/repo@{'0' * 40}", "it has no revision '0000"),
        ("user/else", "the repository is there, but no artifact of this library: no statistics.safetensors in it"),
        ("user/empty", "the repository is there, but no artifact of this library"),
        ("a--b/c", "Cannot have -- or .. in repo_id"),
    ],
)
def test_what_is_not_there_is_said_with_the_reason(checkpoint, reason, hub, repo, saved):
    hub.repo("user/gated", saved, gated=True)
    hub.repo("user/else").commit({"config.json": b"{}", "model.safetensors": b"x" * 10**6})
    hub.repo("user/empty")
    with pytest.raises(FileNotFoundError) as caught:
        SemanticAugment(checkpoint=checkpoint)  # at once, not in a worker
    assert f"no checkpoint '{checkpoint}': neither a bundled one ('f" in str(caught.value)
    assert f"nor a directory that exists, nor on the Hub: {reason}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not hub.asked(LARGE), "nothing large is fetched in vain"


def test_a_token_that_is_refused(hub, repo):
    with pytest.raises(FileNotFoundError, match=r"your token \(HF_TOKEN, `hf auth login`\) is refused"):
        Artifact.from_pretrained("user/repo", token="hf_wrong")


def test_a_newer_format(hub, repo):
    config = json.loads(repo.commits[repo.refs["main"]]["config.json"])
    repo.commit({"config.json": json.dumps(config | {"format": "semantic-aug/3"}).encode()})
    with pytest.raises(ArtifactError, match="format is 'semantic-aug/3'; a newer version of semantic-aug is needed"):
        Artifact.from_pretrained("user/repo")


# --- Downloads that break off -------------------------------------------------------------------------------------


def test_a_broken_download_goes_on_where_it_was(hub, repo):
    """The client writes 10 MiB at a time, and goes on behind what it has written."""
    content = os.urandom(11 << 20)
    repo.commit({"model.safetensors": content})
    hub.fault(LARGE, f"cut {(10 << 20) + 500_000}", times=2)
    directory = module.download("user/repo")
    assert (directory / "model.safetensors").read_bytes() == content
    ranges = [headers.get("range") for origin, _, headers in hub.requests if origin == "cdn"]
    assert f"bytes={10 << 20}-" in ranges


def test_a_download_that_breaks_off_leaves_the_older_state_usable(hub, repo, tmp_path):
    old = Artifact.from_pretrained("user/repo").directory
    new = another(hub, tmp_path)
    hub.fault("resolve/.*/config.json", 404)
    with pytest.raises(FileNotFoundError, match="nor on the Hub"):
        Artifact.from_pretrained("user/repo")
    hub.faults.clear()
    assert Artifact.from_pretrained("user/repo", local_files_only=True).directory == old
    assert Artifact.from_pretrained("user/repo").directory.name == new
    assert Artifact.from_pretrained("user/repo", local_files_only=True).directory.name == new


@pytest.mark.slow
def test_connections_that_drop_for_ever(hub, repo):
    hub.fault(LARGE, "drop")
    with pytest.raises(FileNotFoundError, match=r"the download broke off \(.*\); try again"):
        Artifact.from_pretrained("user/repo")


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_a_cache_that_was_filled_in_parts(name, hub, repo, monkeypatch):
    """By another program, with hf_hub_download: the client does not know then what is missing."""
    from huggingface_hub import hf_hub_download

    for other in NEEDED - {name}:
        hf_hub_download("user/repo", other)
    for options in ({}, {"revision": repo.refs["main"]}):
        with pytest.raises(FileNotFoundError, match=r"is not \(whole\) in the cache"):
            Artifact.from_pretrained("user/repo", local_files_only=True, **options)
    assert Artifact.from_pretrained("user/repo", revision=repo.refs["main"]).classes


def test_a_damaged_file_is_refused_and_can_be_repaired(hub, repo):
    """One bit, in the cache or on the way: the client checks the size alone."""
    directory = Artifact.from_pretrained("user/repo").directory
    path = (directory / "model.safetensors").resolve()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"model.safetensors: found .* download it again \(from the Hub: .*force_"):
        Artifact.from_pretrained("user/repo")
    assert Artifact.from_pretrained("user/repo", force_download=True).directory == directory
    assert Artifact.from_pretrained("user/repo").classes


def test_a_tampered_repository_is_refused(hub, repo):
    content = bytearray(repo.commits[repo.refs["main"]]["model.safetensors"])
    content[-1] ^= 1
    repo.commit({"model.safetensors": bytes(content)})
    with pytest.raises(ArtifactError, match=r"config\.json says"):
        Artifact.from_pretrained("user/repo")


# --- Processes ----------------------------------------------------------------------------------------------------


def test_workers_use_the_commit_that_the_parent_found(hub, repo, tmp_path):
    augment = SemanticAugment(p=1.0, checkpoint="user/repo", domain_check=False)
    commit = repo.refs["main"]
    assert f"user/repo@{commit}" in repr(augment)
    another(hub, tmp_path)
    images = list(torch.rand(8, 1, 32, 32))
    data = [(image, 0) for image in images]

    class Augmented(torch.utils.data.Dataset):
        def __len__(self):
            return len(data)

        def __getitem__(self, index):
            return augment(*data[index])[0], augment.artifact.directory.name

    before = len(hub.requests)
    for batch, commits in DataLoader(Augmented(), num_workers=2, batch_size=4, multiprocessing_context="fork"):
        assert batch.shape == (4, 1, 32, 32)
        assert set(commits) == {commit}
    pickled = pickle.dumps(augment)
    assert len(pickled) < 5000
    assert pickle.loads(pickled).artifact.directory.name == commit
    assert len(hub.requests) == before
    assert SemanticAugmentBatch(checkpoint="user/repo").artifact.directory.name != commit


def test_two_processes_at_once_download_once(hub, repo, tmp_path, capsys):
    both = threading.Barrier(2)
    hub.fault("GET .*/tree/", both.wait, times=2)  # both have an empty cache before them
    outputs, home = [tmp_path / "first", tmp_path / "second"], tmp_path / "home"
    call = (run_client, hub.environment(home), {}, "inspect", "user/repo")
    for process in [start(*call, output=output) for output in outputs]:
        process.join(600)
        assert process.exitcode == 0
    first, second = (output.read_text() for output in outputs)
    assert first == second
    assert f"semantic-aug/1 at {home}" in first
    assert cli.main(["inspect", str(home / "hub/models--user--repo/snapshots" / repo.refs["main"])]) == 0
    assert first == capsys.readouterr().out, "and no bars where there is no terminal"
    assert len(hub.asked(LARGE)) == 2, "the two large files, once each"
    assert not hub.faults[0][2]


# --- Pushing ------------------------------------------------------------------------------------------------------


def test_what_is_pushed_loads_bit_for_bit(hub, tmp_path):
    """And nothing but the artifact's files, its card and its pictures is sent."""
    artifact = build_artifact()
    artifact.card = "---\nlicense: mit\n---\n# mine\n"
    directory = artifact.save(tmp_path / "a", half=True)
    for name in ("preview.png", "samples.png", "secret.txt", "optimizer.bin"):
        (directory / name).write_bytes(name.encode())
    (directory / "sub").mkdir()
    (directory / "sub" / "config.json").write_text("{}")
    artifact = Artifact.from_pretrained(directory)
    reference = artifact.push_to_hub("user/mine", token=TOKEN, commit_message="First", tag="v1.0")
    repo = hub.repos["user/mine"]
    files = repo.commits[repo.refs["main"]]
    assert set(files) == NEEDED | {"README.md", "preview.png", "samples.png", ".gitattributes"}
    assert all((directory / name).read_bytes() == files[name] for name in set(files) - {".gitattributes"})
    assert reference == f"user/mine@{repo.refs['main']}"
    assert not repo.private
    assert not any("authorization" in headers for origin, _, headers in hub.requests if origin == "cdn")
    loaded = Artifact.from_pretrained(reference)
    x = torch.rand(3, 1, 32, 32) * 2 - 1
    assert torch.equal(loaded.encode(x), artifact.encode(x))
    assert torch.equal(loaded.decode(loaded.encode(x)), artifact.decode(artifact.encode(x)))
    assert loaded.card == artifact.card
    assert artifact.directory == directory
    commits = len(repo.commits)
    assert artifact.push_to_hub("user/mine", token=TOKEN, tag="v1.1") == reference
    assert len(repo.commits) == commits, "nothing changed"
    assert repo.tags == {"v1.0": repo.refs["main"], "v1.1": repo.refs["main"]}


def test_what_is_in_memory_is_pushed(hub):
    artifact = build_artifact()
    artifact.reconstruction = {"images": 9, "l1_mean": 0.12345, "l1_std": 0.01}
    artifact.training = {"images_seen": 1234, "command": "semantic-aug train", "settings": {"batch": 64}}
    artifact.classes = ["a|b", "c", "d"]
    reference = artifact.push_to_hub("user/new", token=TOKEN, private=True, license="cc-by-4.0")
    assert hub.repos["user/new"].private
    assert artifact.directory is None
    loaded = Artifact.from_pretrained(reference, token=TOKEN)
    assert loaded.fingerprint == artifact.fingerprint
    assert loaded.encoder.stem.weight.equal(artifact.encoder.stem.weight)
    from huggingface_hub import ModelCard

    card = ModelCard(loaded.card)
    assert card.data.license == "cc-by-4.0"
    assert card.data.library_name == "semantic-aug"
    assert {"data-augmentation", "long-tailed"} <= set(card.data.tags)
    for words in (
        "# new\n",
        "32-pixel grey",
        "0.1235",
        "of 9 held-out",
        "| c | 50 |",
        "images_seen: 1234",
        'checkpoint="user/new"',
        "a&#124;b",
    ):
        assert words in card.content, words
    assert "](" not in card.content, "no picture that is not there"


def test_names_and_values_from_outside_are_text_in_a_card(hub, artifact):
    wild = build_artifact(classes=["<script>x</script>", "[a](http://evil)", "b\n## forged\x1b[2J"])
    wild.training = {"`key`\n": "`code`<img src=x>\n# forged", "n": 3}
    wild.reconstruction = {"l1_mean": 0.1, "l1_std": 0.01}  # no number of images
    card = Artifact.from_pretrained(wild.push_to_hub("user/wild", token=TOKEN), token=TOKEN).card
    assert "<script" not in card
    assert "[a]" not in card
    assert "\x1b" not in card
    assert "\n# forged" not in card
    assert "\n## forged" not in card
    assert "| &lt;script&gt;x&lt;/script&gt; | 50 |" in card
    assert "`'code'<img src=x> # forged`" in card or r"`'code'<img src=x>\n# forged`" in card


def test_a_picture_that_links_to_another_file_is_not_pushed(hub, saved, tmp_path):
    (tmp_path / "secret").write_text("token")
    artifact = Artifact.from_pretrained(saved)
    (saved / "preview.png").symlink_to(tmp_path / "secret")
    with pytest.raises(ValueError, match=r"preview\.png: is a link to .*secret"):
        artifact.push_to_hub("user/new", token=TOKEN)


def test_a_card_that_the_repository_has_stays(hub):
    artifact = build_artifact()
    artifact.push_to_hub("user/repo", token=TOKEN)
    hub.repos["user/repo"].commit({"README.md": b"# written by hand\n"})
    artifact.recommended = Recommended(p=0.25)
    assert Artifact.from_pretrained(artifact.push_to_hub("user/repo", token=TOKEN)).card == "# written by hand\n"


def test_what_is_refused_before_anything_is_sent(hub, saved):
    artifact = Artifact.from_pretrained(saved)
    hub.repo("user/public", saved)
    hub.repos["user/public"].tags["v1.0"] = hub.repos["user/public"].refs["main"]
    for options, message in (({"private": True}, "user/public is public"), ({"tag": "v1.0"}, "has a tag 'v1.0'")):
        with pytest.raises(ValueError, match=message):
            artifact.push_to_hub("user/public", token=TOKEN, **options)
    with pytest.raises(PermissionError, match=r"does not let this token write to user/public .* set HF_TOKEN"):
        artifact.push_to_hub("user/public")
    with pytest.raises(PermissionError, match="user/new"):
        artifact.push_to_hub("user/new", token="hf_wrong")
    for name in ("mine", "user/repo@v1", "a/b/c"):
        with pytest.raises(ValueError, match="such as 'user/repo', got"):
            artifact.push_to_hub(name, token=TOKEN)
    artifact.card = "# mine"
    with pytest.raises(ValueError, match="states its own"):
        artifact.push_to_hub("user/new", license="mit", token=TOKEN)
    assert not hub.asked("^PUT|/commit/")
    assert set(hub.repos) == {"user/public"}


@pytest.mark.parametrize("trouble", ["hang", "drop", 503])
def test_a_push_to_a_hub_in_trouble(trouble, hub, artifact, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT", 0.5)
    hub.fault("", trouble)
    with pytest.raises(ConnectionError, match="user/new: the push failed"):
        artifact.push_to_hub("user/new", token=TOKEN)


@pytest.mark.parametrize(("status", "error"), [(400, ConnectionError), (403, PermissionError)])
def test_a_large_file_that_cannot_be_sent(status, error, hub, artifact):
    hub.fault("^PUT", status)
    with pytest.raises(error, match=r"user/new.*(Bad request|403 Forbidden)"):
        artifact.push_to_hub("user/new", token=TOKEN)
    assert not hub.asked("commit")
