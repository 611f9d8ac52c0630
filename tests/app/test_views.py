import io
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.testing import assert_close

from semantic_aug.app import views
from semantic_aug.app.views import UNKNOWN, domain_html, draws, draws_html, label_of, read_upload, walk, walk_html
from semantic_aug.evaluation.classifier import Judge, resnet18
from semantic_aug.functional import semantic_augment_image
from semantic_aug.images import bytes_to_model
from semantic_aug.model.runtime import LatentModel
from semantic_aug.model.statistics import POOLED
from semantic_aug.perturb import NEEDS_OTHERS, PERTURBATIONS
from tests.conftest import CLASSES, build_artifact

IMAGE = torch.randint(0, 256, (3, 40, 40), dtype=torch.uint8)


@pytest.fixture(scope="module")
def judge():
    """One that knows the artifact's classes in another order, and answers to its images."""
    torch.manual_seed(3)
    return Judge(
        network=resnet18(1, 3), classes=["Sad", "Angry", "Happy"], channels=1, size=32, images=1, epochs=1, seed=0
    )


def pixels(text):
    return re.findall(r'src="data:image/png;base64,([^"]+)"', text)


# --- Uploads ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "size", "file", "shape"),
    [
        ("L", (30, 20), "a.png", (1, 20, 20)),
        ("RGB", (20, 30), "a.jpg", (3, 20, 20)),
        ("P", (9, 9), "a.gif", (3, 9, 9)),
        ("I;16", (9, 9), "a.png", (1, 9, 9)),
        ("LA", (9, 9), "a.png", (1, 9, 9)),
        ("CMYK", (9, 9), "a.tif", (3, 9, 9)),
        ("RGBA", (700, 600), "a.webp", (3, 256, 256)),
        ("1", (1, 1), "no-suffix", (1, 1, 1)),
    ],
)
def test_an_upload_is_its_middle_square(tmp_path, mode, size, file, shape):
    Image.new(mode, size).save(tmp_path / file, format=None if "." in file else "BMP")
    image = read_upload(tmp_path / file)
    assert image.shape == shape
    assert image.dtype == torch.uint8


def test_the_middle_is_the_middle(tmp_path):
    picture = Image.new("L", (6, 2), 0)
    picture.paste(255, (2, 0, 4, 2))
    picture.save(tmp_path / "a.png")
    assert read_upload(tmp_path / "a.png").unique().tolist() == [255]


def postscript(path):
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")


def truncated(path):
    whole = io.BytesIO()
    Image.effect_noise((50, 50), 50).save(whole, "PNG")
    path.write_bytes(whole.getvalue()[:900])


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_text("hello"), "not an image that can be read; PNG, JPEG"),
        (lambda path: path.write_bytes(b""), "not an image that can be read"),
        (postscript, "not an image that can be read"),  # Pillow would start Ghostscript
        (lambda path: Image.new("L", (4, 4)).save(path, "PPM"), "not an image that can be read"),  # not in the list
        (truncated, "not an image that can be read"),
        (lambda path: path.write_bytes(bytes(views.MAX_BYTES + 1)), r"10\.0 MB; at most 10 MB"),
        (lambda path: Image.new("1", (5001, 5000)).save(path, "PNG"), "too many pixels; at most 25 million"),
        (lambda path: Image.new("1", (15000, 10000)).save(path, "PNG"), "too many pixels"),  # Pillow warns
        (lambda path: Image.new("1", (20000, 10000)).save(path, "PNG"), "too many pixels"),  # Pillow raises
    ],
)
def test_what_cannot_be_used_is_refused_in_words_for_its_owner(tmp_path, write, message):
    write(tmp_path / "secret-name.png")
    with pytest.raises(ValueError, match=message) as caught:
        read_upload(tmp_path / "secret-name.png")
    assert "secret" not in str(caught.value)


@settings(max_examples=60)
@given(
    position=st.integers(0, 400), value=st.integers(0, 255), kind=st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "BMP"])
)
def test_a_damaged_file_is_read_or_refused(tmp_path_factory, position, value, kind):
    path = tmp_path_factory.getbasetemp() / "damaged"
    whole = io.BytesIO()
    Image.linear_gradient("L").resize((17, 13)).save(whole, kind)
    data = bytearray(whole.getvalue())
    data[position % len(data)] = value
    path.write_bytes(data)
    try:
        read = f"This {read_upload(path).ndim}"
    except ValueError as error:
        read = str(error)
    assert re.match("This (3|is not an image|image has too many)", read)


# --- Draws and walks ----------------------------------------------------------------------------------------------


def test_labels(artifact):
    assert [label_of(artifact, name) for name in ("happy", UNKNOWN)] == [1, POOLED]


def test_draws_are_the_librarys_and_repeat(artifact):
    common = {"strength": 0.5, "mode": "decode", "perturbation": "diagonal"}
    drawn = draws(artifact, IMAGE, 1, seed=7, **common)
    noise = torch.randn(views.DRAWS, 8, generator=torch.Generator().manual_seed(7))
    images = IMAGE.expand(views.DRAWS, -1, -1, -1)
    assert torch.equal(drawn, semantic_augment_image(images, noise, LatentModel.of(artifact), 1, **common))
    assert torch.equal(drawn, draws(artifact, IMAGE, 1, seed=7, **common))
    assert not torch.equal(drawn, draws(artifact, IMAGE, 1, seed=8, **common))


def test_a_perturbation_that_needs_a_class_says_so(artifact):
    with pytest.raises(ValueError, match="class-gaussian needs a class; choose"):
        draws(artifact, IMAGE, POOLED, strength=1.0, mode="detail", perturbation="class-gaussian", seed=0)


@pytest.mark.parametrize("label", [2, POOLED])
def test_a_walk_of_no_length_in_detail_is_the_image_and_any_other_is_not(artifact, label):
    assert torch.equal(walk(artifact, IMAGE, label, [0.0, 0.0], mode="detail"), IMAGE)
    one = walk(artifact, IMAGE, label, [2.0, 0.0], mode="detail")
    other = walk(artifact, IMAGE, label, [0.0, 2.0], mode="detail")
    assert len({bytes(image.flatten().tolist()) for image in (IMAGE, one, other)}) == 3


def test_verdicts_are_in_the_artifacts_order(artifact, judge):
    images = torch.randint(0, 256, (4, 3, 40, 40), dtype=torch.uint8)
    found = views.verdicts(judge, artifact, images)
    assert_close(found, judge.probabilities(bytes_to_model(images))[:, [1, 2, 0]])
    assert_close(found.sum(1), torch.ones(4))


# --- HTML ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("perturbation", [name for name in PERTURBATIONS if name not in NEEDS_OTHERS])
def test_draws_html(artifact, perturbation):
    text = draws_html(artifact, None, IMAGE, "sad", 0.35, "detail", perturbation, 0)
    assert len(set(pixels(text))) == 2 + views.DRAWS
    assert 'alt="reconstruction"' in text
    assert 'alt="draw 8"' in text
    assert ">draw 8" not in text, "a number below a picture says nothing"
    assert "judge" not in text


def test_strength_0_in_detail_shows_the_image_itself(artifact):
    text = draws_html(artifact, None, IMAGE, "sad", 0.0, "detail", "covariance", 0)
    source, reconstruction, *drawn = pixels(text)
    assert set(drawn) == {source}
    assert reconstruction != source


def test_a_judges_verdicts_are_marked_where_they_differ_from_the_class(artifact, judge):
    texts = {name: draws_html(artifact, judge, IMAGE, name, 0.35, "detail", "covariance", 0) for name in CLASSES}
    for name, text in texts.items():
        notes = re.findall(r"<small( class=wrong)?>(\w+) \d+%</small>", text)
        assert len(notes) == 2 + views.DRAWS
        assert all((seen != name) == bool(wrong) for wrong, seen in notes)
        assert text.count('<th scope="row">') == 3, "a bar for each class"
    assert "class=wrong" in "".join(texts.values())
    unknown = draws_html(artifact, judge, IMAGE, UNKNOWN, 0.35, "detail", "covariance", 0)
    assert "class=wrong" not in unknown


def test_walk_html(artifact, judge):
    text = walk_html(artifact, judge, IMAGE, "sad", "detail", [3.0])
    assert len(set(pixels(text))) == 2
    assert text.count("%</small>") == 2
    still = walk_html(artifact, None, IMAGE, "sad", "detail", [0.0])
    assert len(set(pixels(still))) == 1


def test_a_walk_starts_at_the_image_in_every_mode(artifact):
    starts = [pixels(walk_html(artifact, None, IMAGE, "sad", mode, [1.0]))[0] for mode in ("detail", "decode")]
    assert starts == [pixels(draws_html(artifact, None, IMAGE, "sad", 0.35, "decode", "covariance", 0))[0]] * 2


def test_names_are_escaped(judge):
    artifact = build_artifact(classes=["<b>", "&", "c"])
    strange = Judge(network=judge.network, classes=["<b>", "&", "c"], channels=1, size=32, images=1, epochs=1, seed=0)
    text = draws_html(artifact, strange, IMAGE, "<b>", 0.35, "detail", "covariance", 0)
    assert "<b>" not in text
    assert "&lt;b&gt;" in text


def test_an_image_unlike_the_training_images_is_called_so(monkeypatch):
    """By the check that the transforms make, here of one image."""
    artifact = build_artifact()
    error = "Reconstruction error (L1): 0.500. This alone does not say whether the image suits the checkpoint."
    assert domain_html(artifact, IMAGE, 0.5) == error
    artifact.reconstruction = {"l1_mean": 0.138, "l1_std": 0.035}
    text = domain_html(artifact, IMAGE, 0.5)
    assert text.startswith("<strong>This image does not look like what the checkpoint was trained on: ")
    assert "reconstruction comes no nearer than an even grey does (L1 " in text
    assert "0.138" not in text, "a small error would speak for an image that has little contrast"
    monkeypatch.setattr("semantic_aug.model.domain.Domain.complaint", lambda self: None)
    assert domain_html(artifact, IMAGE, 0.5) == error
