import dataclasses
import errno
import json
import os
import pickle
import re
import shutil
import struct
import subprocess
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

import semantic_aug.model.format as module
from semantic_aug import Artifact, ArtifactError, ClassStatistics, SemanticAugment
from semantic_aug._files import MAX_TEXT
from semantic_aug.model.artifact import on_device
from semantic_aug.model.recommended import Recommended
from tests.conftest import CLASSES, build_artifact
from tests.forks import fork

MODEL, STATISTICS, CONFIG = "model.safetensors", "statistics.safetensors", "config.json"


@pytest.fixture
def conditional():
    return build_artifact(conditional=True)


def edit_config(directory, **changes):
    path = directory / CONFIG
    config = json.loads(path.read_text())
    config.update(changes)
    path.write_text(json.dumps(config))


def rewrite(directory, name, **changes):
    """Replace tensors of a file (None removes one) and make its hash right again."""
    tensors = load_file(directory / name)
    tensors |= {key: value for key, value in changes.items() if value is not None}
    save_file({key: value for key, value in tensors.items() if changes.get(key, value) is not None}, directory / name)
    files = json.loads((directory / CONFIG).read_text())["files"]
    files[name] = module._fingerprint(directory / name)
    edit_config(directory, files=files)


def test_round_trip_keeps_everything(artifact, tmp_path):
    original = build_artifact()
    original.card = "# card\n"
    original.reconstruction = {"images": 9, "l1_mean": 0.1, "l1_std": 0.01}
    original.training = {"images_seen": 1}
    loaded = Artifact.from_pretrained(original.save(tmp_path / "a"))
    x = torch.rand(3, 1, 32, 32) * 2 - 1
    assert torch.equal(loaded.encode(x), artifact.encode(x))
    assert torch.equal(loaded.decode(loaded.encode(x)), artifact.decode(artifact.encode(x)))
    for name in ("network", "classes", "recommended", "reconstruction", "training", "card"):
        assert getattr(loaded, name) == getattr(original, name)
    for label in range(3):
        expected = original.statistics.covariance(label)
        assert_close(loaded.statistics.covariance(label), expected, rtol=1e-5, atol=1e-6)


def test_round_trip_by_bytes(saved, tmp_path):
    Artifact.from_pretrained(saved).save(tmp_path / "again")
    assert sorted(os.listdir(saved)) == [CONFIG, MODEL, STATISTICS]
    for name in os.listdir(saved):
        assert (saved / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_half_precision_is_stored_and_computed_in_float32(artifact, tmp_path):
    original = build_artifact()
    loaded = Artifact.from_pretrained(original.save(tmp_path / "a", half=True))
    assert loaded.fingerprint == original.fingerprint != artifact.fingerprint, "in memory as in the file"
    assert load_file(tmp_path / "a" / MODEL)["encoder.stem.weight"].dtype == torch.float16
    x = torch.rand(3, 1, 32, 32) * 2 - 1
    assert loaded.encode(x).dtype == torch.float32
    assert_close(loaded.encode(x), artifact.encode(x), rtol=0, atol=0.02)


def test_the_format_is_as_specified(saved):
    config = json.loads((saved / CONFIG).read_text())
    assert list(config) == sorted(config)
    assert config["format"] == "semantic-aug/1"
    tensors = load_file(saved / STATISTICS)
    assert {name: (tuple(t.shape), t.dtype) for name, t in tensors.items()} == {
        "count": ((3,), torch.int64),
        "mean": ((3, 8), torch.float32),
        "covariance": ((3, 8, 8), torch.float32),
    }
    assert {name.split(".")[0] for name in load_file(saved / MODEL)} == {"encoder", "generator"}
    assert config["files"][MODEL]["bytes"] == (saved / MODEL).stat().st_size


def test_loading_draws_nothing_from_the_global_generator(saved):
    before = torch.get_rng_state()
    Artifact.from_pretrained(saved)
    assert torch.equal(before, torch.get_rng_state())


def test_a_loaded_artifact_takes_no_gradients(saved):
    artifact = Artifact.from_pretrained(saved)
    x = (torch.rand(2, 1, 32, 32) * 2 - 1).requires_grad_()
    assert not artifact.decode(artifact.encode(x)).requires_grad
    assert not any(p.requires_grad for p in [*artifact.encoder.parameters(), *artifact.generator.parameters()])
    assert not artifact.encoder.training


def test_sample_repeats_with_a_seed_and_differs_between_classes(artifact):
    a, b = (artifact.sample(0, 4, torch.Generator().manual_seed(3)) for _ in range(2))
    assert a.shape == (4, 1, 32, 32)
    assert torch.equal(a, b)
    assert not torch.equal(a, artifact.sample(1, 4, torch.Generator().manual_seed(3)))
    for label in (-1, 3):
        with pytest.raises(ValueError, match=r"label must lie in 0\.\.2"):
            artifact.sample(label, 1)
    coldest = artifact.sample(0, 2, temperature=0.0)
    assert torch.equal(coldest, artifact.decode(artifact.statistics.mean[0].float().expand(2, -1)))


# --- A generator that is conditional on the class ------------------------------------------------------------------


def test_a_conditional_artifact_is_format_2_and_comes_back_whole(conditional, tmp_path):
    loaded = Artifact.from_pretrained(conditional.save(tmp_path / "a"))
    config = json.loads((tmp_path / "a" / CONFIG).read_text())
    assert config["format"] == "semantic-aug/2"
    assert config["network"]["num_classes"] == 3
    assert loaded.conditional
    z, labels = torch.randn(4, 8), torch.tensor([0, 1, 2, -1])
    assert torch.equal(loaded.decode(z, labels), conditional.decode(z, labels))
    assert loaded.fingerprint == conditional.fingerprint


def test_an_artifact_with_a_latent_map_is_format_2_and_comes_back_whole(tmp_path):
    artifact = build_artifact(latent_map=True)
    loaded = Artifact.from_pretrained(artifact.save(tmp_path / "a"))
    config = json.loads((tmp_path / "a" / CONFIG).read_text())
    assert config["format"] == "semantic-aug/2"
    assert config["network"]["latent_map"] is True
    assert "num_classes" not in config["network"]
    x = torch.rand(2, 1, 32, 32) * 2 - 1
    assert torch.equal(loaded.decode(loaded.encode(x)), artifact.decode(artifact.encode(x)))


def test_weights_of_one_class_that_overflow_are_found(tmp_path):
    artifact = build_artifact(conditional=True)
    with torch.no_grad():
        artifact.generator.blocks[0].norm1.modulation.weight[:, 8 + 1] = 3e38  # latents have 8 dimensions
    artifact.save(tmp_path / "a")
    assert not artifact.decode(torch.zeros(1, 8), torch.tensor([1])).isfinite().all()
    with pytest.raises(ArtifactError, match="a decoded latent holds NaN or infinity"):
        Artifact.from_pretrained(tmp_path / "a")


def test_it_decodes_with_a_label_and_without_one(conditional):
    z = torch.randn(3, 8)
    plain, told = conditional.decode(z), conditional.decode(z, torch.tensor([0, 2, -1]))
    assert (plain - told).abs().amax((1, 2, 3))[:2].min() > 1e-3
    assert_close(told[2], plain[2])


def test_new_samples_are_decoded_with_their_label(conditional):
    latents = conditional.statistics.mean[1].float().expand(2, -1)
    coldest = conditional.sample(1, 2, temperature=0.0)
    assert torch.equal(coldest, conditional.decode(latents, torch.tensor([1, 1])))


def test_an_unconditional_artifact_decodes_alike_whatever_the_label(artifact):
    z = torch.randn(2, 8)
    assert torch.equal(artifact.decode(z, torch.tensor([0, 7])), artifact.decode(z))


@pytest.mark.parametrize("label", [-2, 3])
def test_a_label_that_it_does_not_know_is_refused(conditional, label):
    with pytest.raises(
        ValueError, match=rf"labels must lie in 0\.\.2 \(angry, happy, sad\), or be -1 .* got .*{label}"
    ):
        conditional.decode(torch.randn(2, 8), torch.tensor([1, label]))


def test_without_its_classes_it_decodes_as_without_a_label(conditional, tmp_path):
    plain, z = conditional.unconditional(), torch.randn(4, 8)
    assert not plain.conditional
    assert_close(plain.decode(z), conditional.decode(z))
    assert json.loads((plain.save(tmp_path / "a") / CONFIG).read_text())["format"] == "semantic-aug/1"
    assert plain.unconditional() is plain


def test_other_classes_than_the_generators_are_refused(conditional, tmp_path):
    with pytest.raises(ValueError, match=r"conditional on 3 classes, the artifact has 2: .*unconditional\(\)"):
        replace(conditional, classes=["a", "b"])
    saved = conditional.save(tmp_path / "a")
    network = json.loads((saved / CONFIG).read_text())["network"]
    for found in (0, 2, 4):
        edit_config(saved, network=network | {"num_classes": found})
        with pytest.raises(ArtifactError, match=f"conditional on {found} classes, expected 3"):
            Artifact.from_pretrained(saved)


# --- What is wrong is said, before memory is allocated -------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"format": "semantic-aug/3"},
            "'semantic-aug/3'; a newer version of semantic-aug is needed .*pip install --upg",
        ),
        ({"format": "semantic-aug/x"}, "'semantic-aug/x'; it was not written by semantic-aug .*'semantic-aug/2'"),
        ({"format": 2}, "2; it was not written by semantic-aug"),
        ({"format": "semantic-aug/2"}, r"'network' has \[.*\], expected \[.*\] and num_classes or latent"),
        ({"network": 3}, "'network' is 3, expected a dict"),
        ({"network": {}}, r"'network' has \[\], expected"),
        ({"image_size": 48}, "'image_size' is 48, 'network' says 32"),
        ({"channels": 3}, "'channels' is 3, 'network' says 1"),
        ({"classes": []}, "one or more different names"),
        ({"classes": ["a", "a", "b"]}, "one or more different names"),
        ({"counts": [1]}, "'counts' must be 3 numbers"),
        ({"counts": [1, -2, 3]}, "'counts' must be 3 numbers"),
        ({"counts": [50, 50, 51]}, r"count is \[50, 50, 50\]"),
        ({"rank": 4}, "'rank' is 4"),
        ({"recommended": {"mood": "detail"}}, r"'recommended' must have \['mode', 'p', 'shrinkage', 'strength'\]"),
        (
            {"recommended": {"mode": "detail", "p": 2, "strength": 1, "shrinkage": "oas"}},
            r"recommended p must be a number in \[0, 1\], got 2",
        ),
        (
            {"recommended": {"mode": "detail", "p": 1, "strength": -1, "shrinkage": "oas"}},
            "recommended strength must be",
        ),
        ({"recommended": {"mode": "detail", "p": 1, "strength": 1, "shrinkage": "x"}}, "shrinkage must be"),
        ({"files": {}}, "safetensors: found .* says None"),
        ({"reconstruction": {"l1_mean": 0.1}}, "one of 'l1_mean' and 'l1_std'"),
        ({"reconstruction": {"lpips_mean": 0.1}}, "one of 'lpips_mean' and 'lpips_std'"),
        ({"files": {"x" * 100_000: 3}}, "expected its 'bytes' and 'sha256'"),
        ({"training": {"seed": 10**400}}, "has too many digits"),
        ({"training": {"name": "\ud800"}}, "is not UTF-8"),
        ({"recommended": {"x" * 100_000: 1}}, "'recommended' must have"),
        ({"network": {"x" * 100_000: 1}}, r"'network' has \['x"),
        ({"reconstruction": {"l1_mean": None, "l1_std": 0.1}}, "reconstruction 'l1_mean' is None, expected a finite"),
    ],
)
def test_a_wrong_config_is_refused(saved, change, message):
    edit_config(saved, **change)
    with pytest.raises(ArtifactError, match=message) as caught:
        Artifact.from_pretrained(saved)
    assert str(saved) in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\xff", "[" * 100_000])
def test_a_config_that_is_no_json_object_is_refused(saved, text):
    (saved / CONFIG).write_bytes(text.encode("latin-1"))
    with pytest.raises(ArtifactError, match=CONFIG):
        Artifact.from_pretrained(saved)


def test_an_oversized_config_is_refused(saved):
    (saved / CONFIG).write_bytes(b" " * (MAX_TEXT + 1))
    with pytest.raises(ArtifactError, match="expected at most"):
        Artifact.from_pretrained(saved)


@pytest.mark.parametrize("field", ["latent_dim", "width", "max_multiplier"])
def test_a_hostile_network_allocates_nothing(saved, field):
    """The largest network there can be would take terabytes; the header of the file contradicts it first."""
    network = json.loads((saved / CONFIG).read_text())["network"]
    maximum = {"latent_dim": 4096, "width": 512, "max_multiplier": 64}
    edit_config(saved, network=network | {field: maximum[field], "image_size": 256}, image_size=256)
    with pytest.raises(ArtifactError, match=r"expected|lacks"):
        Artifact.from_pretrained(saved)
    edit_config(saved, network=network | {field: 10**9})
    with pytest.raises(ArtifactError, match=field):
        Artifact.from_pretrained(saved)


@pytest.mark.parametrize("name", [CONFIG, MODEL, STATISTICS])
def test_a_missing_file_is_named(saved, name):
    (saved / name).unlink()
    with pytest.raises(ArtifactError, match=f"{name}: missing"):
        Artifact.from_pretrained(saved)


def test_one_level_too_high_says_where(saved):
    with pytest.raises(ArtifactError, match=rf"config.json: missing; .* did you mean {re.escape(str(saved))}\?"):
        Artifact.from_pretrained(saved.parent)


def test_a_missing_directory_says_what_there_is(tmp_path):
    with pytest.raises(FileNotFoundError, match="neither a bundled one"):
        Artifact.from_pretrained(tmp_path / "nowhere")


@pytest.mark.parametrize("name", [MODEL, STATISTICS])
@pytest.mark.parametrize("damage", ["truncated", "longer", "flipped", "empty", "huge header", "no header"])
def test_a_damaged_file_is_refused(saved, name, damage):
    data = bytearray((saved / name).read_bytes())
    if damage == "flipped":
        data[-3] ^= 1
    replacement = {
        "truncated": data[:-10],
        "longer": data + b"x",
        "flipped": data,
        "empty": b"",
        "huge header": struct.pack("<Q", 2**62) + data[8:],
        "no header": b"\0" * len(data),
    }[damage]
    (saved / name).write_bytes(bytes(replacement))
    with pytest.raises(ArtifactError, match=name):
        Artifact.from_pretrained(saved)


def indefinite():
    """Three covariances, of which the last has one eigenvalue of -0.1 and variances of 1."""
    covariance = torch.eye(8).repeat(3, 1, 1)
    covariance[2, 0, 1] = covariance[2, 1, 0] = 1.1
    return covariance


@pytest.mark.parametrize(
    ("name", "key", "value", "message"),
    [
        (MODEL, "encoder.stem.weight", None, "lacks tensor 'encoder.stem.weight'"),
        (MODEL, "extra", torch.zeros(1), "has the unexpected tensor 'extra'"),
        (MODEL, "encoder.stem.bias", torch.zeros(9), r"has shape \[9\], expected \[8\]"),
        (MODEL, "encoder.stem.bias", torch.zeros(8, dtype=torch.float64), "is F64, expected F16 or F32"),
        (MODEL, "encoder.stem.bias", torch.full((8,), torch.nan), "holds NaN"),
        (STATISTICS, "mean", torch.full((3, 8), torch.inf), "holds NaN or infinity"),
        (STATISTICS, "covariance", torch.zeros(3, 8), r"expected \[3, 8, 8\]"),
        (STATISTICS, "count", torch.zeros(3), "is F32, expected I64"),
        (MODEL, "encoder.norm.running_var", torch.full((16,), -1.0), r"running_var' holds -1, expected variances"),
        (MODEL, "encoder.stem.weight", torch.full((8, 4, 3, 3), 3e38), "encodes a white image to values of nan"),
        (MODEL, "encoder.linear.weight", torch.full((8, 1024), 1e30), r"encodes a white image to values of .*e\+3"),
        (MODEL, "generator.unfold.weight", torch.full((8, 8, 3, 3), 3e38), "a decoded latent holds NaN"),
        (STATISTICS, "mean", torch.full((3, 8), 1e20), r"mean exceeds 10000, for class 0"),
        (STATISTICS, "covariance", -torch.eye(8).repeat(3, 1, 1), "covariance has negative variances, for class 0"),
        (STATISTICS, "covariance", 1e20 * torch.eye(8).repeat(3, 1, 1), "covariance exceeds 1e.08"),
        (STATISTICS, "covariance", torch.eye(8).repeat(3, 1, 1).index_fill(2, torch.tensor(7), 0.5), "not symmetric"),
        (STATISTICS, "covariance", indefinite(), "covariance has negative eigenvalues, for class 2"),
    ],
)
def test_a_wrong_tensor_is_named(saved, name, key, value, message):
    rewrite(saved, name, **{key: value})
    with pytest.raises(ArtifactError, match=message) as caught:
        Artifact.from_pretrained(saved)
    assert name in str(caught.value)


def test_a_covariance_of_few_images_is_positive_semi_definite_within_rounding(tmp_path):
    """Latents of 2 images in 8 dimensions, far from 0, and of none."""
    artifact = build_artifact()
    statistics = ClassStatistics(3, 8)
    statistics.update(torch.randn(2, 8) * 1e3 + 5e3, torch.tensor([0, 0]))
    statistics.update(torch.randn(20, 8), torch.ones(20, dtype=torch.int64))
    changed = replace(artifact, statistics=statistics)
    assert Artifact.from_pretrained(changed.save(tmp_path / "a")).statistics.count.tolist() == [2, 20, 0]


@pytest.mark.parametrize("change", [{"covariance": -1.0}, {"mean": 1e20}])
def test_statistics_that_cannot_be_loaded_again_are_not_saved(saved, change):
    wrong = build_artifact()
    wrong.statistics = ClassStatistics.from_tensors(
        {name: value * change.get(name, 1) for name, value in wrong.statistics.to_tensors().items()}
    )
    with pytest.raises(ArtifactError, match=r"statistics\.safetensors: (mean|covariance)"):
        wrong.save(saved, overwrite=True)
    assert Artifact.from_pretrained(saved).fingerprint == build_artifact().fingerprint


@pytest.mark.parametrize("name", [CONFIG, MODEL, STATISTICS, "README.md"])
def test_a_named_pipe_is_refused_and_waits_for_nobody(saved, name):
    (saved / name).unlink(missing_ok=True)
    os.mkfifo(saved / name)
    with pytest.raises(ArtifactError, match=f"{name}: is a named pipe, expected a regular file"):
        Artifact.from_pretrained(saved)


def test_a_card_that_links_to_another_file_is_refused(saved, tmp_path):
    (tmp_path / "secret").write_text("token")
    (saved / "README.md").symlink_to(tmp_path / "secret")
    with pytest.raises(ArtifactError, match=r"README.md: is a link to .*secret, expected a file in this directory"):
        Artifact.from_pretrained(saved)
    (saved / "README.md").unlink()
    (saved / "README.md").write_bytes(b" " * (MAX_TEXT + 1))
    with pytest.raises(ArtifactError, match=r"README.md: has \d+ bytes, expected at most"):
        Artifact.from_pretrained(saved)


# --- Saving is atomic ----------------------------------------------------------------------------------------------


def test_an_existing_target_needs_overwrite(saved):
    with pytest.raises(FileExistsError, match="overwrite=True"):
        build_artifact().save(saved)
    changed = build_artifact()
    changed.training = {"changed": True}
    changed.save(saved, overwrite=True)
    assert Artifact.from_pretrained(saved).training == {"changed": True}
    assert all(file.stat().st_mode & 0o777 == 0o644 for file in saved.glob("*.safetensors")), "others may read it"
    assert os.listdir(saved.parent) == [saved.name]


def test_what_a_crash_left_of_an_older_artifact_is_in_nobodys_way(saved):
    (saved.parent / f".{saved.name}.semantic-aug-previous" / "pictures").mkdir(parents=True)
    build_artifact().save(saved, overwrite=True)
    assert os.listdir(saved.parent) == [saved.name]


@pytest.mark.parametrize(("value", "half"), [(float("nan"), False), (1e5, True)])
def test_weights_that_cannot_be_loaded_again_are_not_saved(saved, value, half):
    wrong = build_artifact()
    wrong.generator.head.bias[0] = value
    with pytest.raises(ArtifactError, match=r"'generator\.head\.bias' holds NaN or infinity"):
        wrong.save(saved, overwrite=True, half=half)
    assert Artifact.from_pretrained(saved).fingerprint == build_artifact().fingerprint
    assert os.listdir(saved.parent) == [saved.name]


def test_pictures_beside_an_artifact_survive_its_replacement(saved):
    (saved / "pictures").mkdir()
    (saved / "pictures" / "a.png").write_bytes(b"picture")
    (saved / "README.md").write_text("an old card")
    build_artifact().save(saved, overwrite=True)
    assert (saved / "pictures" / "a.png").read_bytes() == b"picture"
    assert not (saved / "README.md").exists(), "this artifact has no card"


def test_directories_below_an_artifact_survive_its_replacement(saved):
    inner = build_artifact().save(saved / "epoch20")
    (saved / "notes").mkdir()
    (saved / "notes" / "README.md").write_text("notes")
    build_artifact().save(saved, overwrite=True)
    assert (saved / "notes" / "README.md").read_text() == "notes"
    Artifact.from_pretrained(inner)


def test_a_link_stays_a_link(saved, tmp_path, monkeypatch):
    link = tmp_path / "elsewhere" / "latest"
    link.parent.mkdir()
    link.symlink_to(saved)
    for number in range(2):
        artifact = build_artifact()
        artifact.training = {"number": number}
        assert artifact.save(link, overwrite=True) == link
        assert link.is_symlink()
        assert Artifact.from_pretrained(saved).training == Artifact.from_pretrained(link).training == {"number": number}
    assert os.listdir(link.parent) == ["latest"]
    assert os.listdir(saved.parent).count(saved.name) == 1
    monkeypatch.chdir(saved)
    build_artifact().save(".", overwrite=True)
    assert Artifact.from_pretrained(saved).training == {}


def test_loading_between_the_renames_of_another_process_disturbs_nothing(saved, monkeypatch):
    monkeypatch.setattr("semantic_aug.model.hub.MOMENT", 0.0)
    replace, seen = os.replace, []

    def replace_and_load(source, target):
        replace(source, target)
        if not saved.exists():
            seen.append(Artifact.from_pretrained(saved).training)

    monkeypatch.setattr(module.os, "replace", replace_and_load)
    artifact = build_artifact()
    artifact.training = {"new": True}
    artifact.save(saved, overwrite=True)
    assert seen == [{}], "the old one"
    assert Artifact.from_pretrained(saved).training == {"new": True}


def test_a_card_that_is_no_text_does_not_matter(saved):
    (saved / "README.md").write_bytes(b"\xff\xfe card")
    assert Artifact.from_pretrained(saved).card.endswith(" card")


def test_a_full_disk_leaves_the_old_artifact(saved, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    before = {name: (saved / name).read_bytes() for name in os.listdir(saved)}
    monkeypatch.setattr(module, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        build_artifact().save(saved, overwrite=True)
    assert {name: (saved / name).read_bytes() for name in os.listdir(saved)} == before
    assert os.listdir(saved.parent) == [saved.name]


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="mounting a small disk needs root")
def test_a_disk_that_is_really_full_leaves_the_old_artifact(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("mounting a tmpfs is not allowed here")
    try:
        target = build_artifact().save(disk / "a")
        needed = sum(file.stat().st_size for file in target.iterdir())
        (disk / "filler").write_bytes(bytes(shutil.disk_usage(disk).free - needed // 2))
        with pytest.raises(Exception, match=r"(?i)no space left"):
            build_artifact().save(target, overwrite=True)
        Artifact.from_pretrained(target)
        (disk / "filler").unlink()
        (target / "grid.png").write_bytes(bytes(5_000_000))
        with pytest.raises(OSError, match=r"^\[Errno 28\] No space left on device: '.*a'$"):
            build_artifact().save(target, overwrite=True)
        assert os.listdir(disk) == ["a"]
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("call", [1, 2])
def test_killed_between_the_renames_leaves_old_or_new(saved, call, monkeypatch):
    calls, replace = 0, os.replace

    def replace_or_die(*arguments):
        nonlocal calls
        calls += 1
        if calls == call:
            os._exit(9)
        replace(*arguments)

    def save_and_die():
        monkeypatch.setattr("semantic_aug.model.format.os.replace", replace_or_die)
        artifact = build_artifact()
        artifact.training = {"new": True}
        artifact.save(saved, overwrite=True)

    process = fork(save_and_die)
    process.join()
    assert process.exitcode == 9
    assert Artifact.from_pretrained(saved).training == {}  # the old one, restored if it had been moved away
    build_artifact().save(saved, overwrite=True)
    assert [name for name in os.listdir(saved.parent) if name.endswith("previous")] == []


def test_a_folder_of_the_user_with_a_name_like_an_old_artifact_stays(tmp_path):
    """Whether saving succeeds or fails."""
    (tmp_path / ".mine.previous").mkdir()
    wrong = build_artifact()
    wrong.generator.head.bias[0] = torch.nan
    with pytest.raises(ArtifactError):
        wrong.save(tmp_path / "mine")
    assert os.listdir(tmp_path) == [".mine.previous"]
    build_artifact().save(tmp_path / "mine")
    assert sorted(os.listdir(tmp_path)) == [".mine.previous", "mine"]


def test_links_and_special_files_beside_an_artifact_are_in_nobodys_way(saved):
    (saved / "dangling").symlink_to("nowhere")
    (saved / "loop").symlink_to("loop")
    os.mkfifo(saved / "pipe")
    build_artifact().save(saved, overwrite=True)
    assert os.readlink(saved / "dangling") == "nowhere"
    assert os.readlink(saved / "loop") == "loop"
    assert not (saved / "pipe").exists()
    Artifact.from_pretrained(saved)


@pytest.mark.parametrize("field", ["classes", "training"])
def test_text_that_is_not_utf8_is_refused_before_anything_is_written(saved, field):
    wrong = build_artifact()
    setattr(wrong, field, ["a", "b\udcff", "c"] if field == "classes" else {"command": "train b\udcff"})
    with pytest.raises(ArtifactError, match=r"the text .*b\\udcff.* is not UTF-8, so it cannot be stored; rename it"):
        wrong.save(saved, overwrite=True)
    assert Artifact.from_pretrained(saved).classes == CLASSES


def save_again_and_again(target, overwrite, times):
    artifact = build_artifact()
    for number in range(times):
        artifact.training = {"number": number}
        artifact.card = "# card " * number
        try:
            artifact.save(target, overwrite=overwrite)
        except FileExistsError:
            return 7
    return 0


def test_two_writers_and_a_reader_do_not_disturb_each_other(saved):
    writers = [fork(save_again_and_again, saved, True, 40) for _ in range(2)]
    read = 0
    while any(writer.is_alive() for writer in writers):
        Artifact.from_pretrained(saved)
        read += 1
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert read
    assert Artifact.from_pretrained(saved).training == {"number": 39}
    assert os.listdir(saved.parent) == [saved.name]


def test_of_two_writers_of_a_new_artifact_one_is_refused(tmp_path):
    writers = [fork(save_again_and_again, tmp_path / "new", False, 1) for _ in range(2)]
    for writer in writers:
        writer.join()
    assert sorted(writer.exitcode for writer in writers) == [0, 7]
    Artifact.from_pretrained(tmp_path / "new")
    assert os.listdir(tmp_path) == ["new"]


# --- Copies and devices --------------------------------------------------------------------------------------------


def test_a_changed_copy_forgets_its_directory(saved):
    """Workers load an artifact from its directory, which holds what it was before the change."""
    artifact = Artifact.from_pretrained(saved)
    assert artifact.directory == saved
    changed = dataclasses.replace(artifact, recommended=Recommended(strength=1.0))
    assert changed.directory is None
    augment = pickle.loads(pickle.dumps(SemanticAugment(checkpoint=changed)))
    assert augment.artifact.recommended.strength == 1.0


def test_a_copy_on_another_device_keeps_its_directory(saved):
    assert Artifact.from_pretrained(saved).to("meta").directory == saved


@pytest.mark.parametrize(
    ("device", "found"), [("cuda", "cuda:2"), ("cuda:1", "cuda:1"), ("mps", "mps:0"), ("cpu", "cpu"), ("cpu:0", "cpu")]
)
def test_a_device_without_an_index_is_the_current_one(monkeypatch, device, found):
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 2)
    assert str(on_device(device)) == found


def test_samples_depend_on_no_default(artifact):
    expected = artifact.sample(1, 2, torch.Generator().manual_seed(3))
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    try:
        found = artifact.sample(1, 2, torch.Generator().manual_seed(3))
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
    assert torch.equal(found, expected)
