"""What the public objects look like in an interactive session: a line of what matters, and no weights."""

import pydoc
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch
from torch.utils.data import DataLoader

from semantic_aug import (
    ClassBalancedSampler,
    LatentCache,
    LatentModel,
    SemanticAugment,
    SemanticAugmentBatch,
    SemanticLoader,
)
from tests.conftest import build_artifact


@pytest.fixture(scope="module")
def artifact():
    return build_artifact()


def test_each_is_a_short_line(artifact, tmp_path):
    data = [(torch.rand(1, 32, 32), label) for label in range(3)]
    augment = SemanticAugmentBatch(checkpoint=artifact)
    cache = LatentCache.build(tmp_path / "latents", artifact, data)
    found = [artifact, artifact.statistics, LatentModel.of(artifact), cache]
    found += [ClassBalancedSampler([0, 0, 1]), SemanticLoader(DataLoader(data), augment, device="cpu")]
    lines = [repr(each) for each in found]
    assert all("\n" not in line and len(line) < 500 for line in lines)
    assert "classes=['angry', 'happy', 'sad']" in lines[0]
    assert "directory=None" in lines[0]
    assert lines[1].startswith("ClassStatistics(num_classes=3, dim=8, images=")
    assert lines[3:5] == [
        "LatentCache(3 images, d=8, no reconstructions)",
        "ClassBalancedSampler(num_samples=3, seed=0, rank=0, world_size=1)",
    ]
    assert lines[5] == f"SemanticLoader(DataLoader, {augment}, device='cpu')"


class Cells(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.texts, self.tags = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)

    def handle_data(self, data):
        self.texts.append(data)


def test_a_notebook_shows_an_artifact_as_a_table(artifact):
    named = replace(
        artifact, classes=["<b>", "&", "c"], reconstruction={"l1_mean": 0.1, "l1_std": 0.02, "images": 1234}
    )
    found = Cells(named._repr_html_())
    assert set(found.tags) == {"table", "caption", "tr", "th", "td"}
    assert found.texts[0] == "artifact"
    for text in ("Classes", "32 \u00d7 32, grey", "0.1000 ± 0.0200", "over 1\u202f234 held-out images"):
        assert text in found.texts
    assert any("<b>" in text for text in found.texts)


def test_help_is_short_enough_to_read():
    text = pydoc.render_doc(SemanticAugment, renderer=pydoc.plaintext)
    signature = next(line for line in text.splitlines() if "SemanticAugment(p" in line)
    assert len(signature) < 600
    for words in ("Augment an image by encoding it", "Example::", "probability in [0, 1] of augmenting", "Raises:"):
        assert words in text
