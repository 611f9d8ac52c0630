"""A device without float64, such as Apple's GPUs, played by tensors that refuse it."""

import dataclasses

import pytest
import torch
from torch.testing import assert_close
from torch.utils._pytree import tree_map

from semantic_aug import ClassStatistics, LatentModel
from semantic_aug.data.dataset import ImageSet
from semantic_aug.evaluation import fid
from semantic_aug.evaluation.affinity import affinity, competence, identity
from semantic_aug.evaluation.probe import linear_probe
from semantic_aug.evaluation.quality import agreement
from semantic_aug.model.domain import Domain
from semantic_aug.model.networks import PRESETS, Encoder, Generator
from semantic_aug.trainer.pca import start_as_pca
from tests.conftest import CLASSES, build_artifact, build_judge


class Lesser(torch.Tensor):
    """A tensor on a device without float64. Only a copy to the CPU leaves the device."""

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, inner.stride(), dtype=inner.dtype, device="meta")

    def __init__(self, inner):
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, operation, types, arguments=(), options=None):
        options = dict(options or {})
        to_cpu = options.get("device") is not None and torch.device(options["device"]).type == "cpu"
        if options.get("dtype") == torch.float64:
            raise TypeError("this device has no float64")
        if options.get("device") is not None:
            options["device"] = torch.device("cpu")
        unwrapped = tree_map(lambda leaf: leaf.inner if isinstance(leaf, cls) else leaf, (arguments, options))
        out = operation(*unwrapped[0], **unwrapped[1])
        return out if to_cpu else tree_map(lambda leaf: cls(leaf) if isinstance(leaf, torch.Tensor) else leaf, out)


def test_training_starts_on_a_device_without_float64():
    data = ImageSet(torch.randint(256, (20, 1, 32, 32), dtype=torch.uint8), torch.arange(20) % 2, ["a", "b"], [])
    starts = []
    for place in (lambda out: out, Lesser):
        torch.manual_seed(0)
        config = dataclasses.replace(PRESETS["fashion-mnist-32"], width=8)
        encoder, generator = Encoder(config), Generator(config)
        encoder.linear.register_forward_hook(lambda layer, inputs, out, place=place: place(out))
        start_as_pca(encoder, generator, data, seed=0)
        starts.append(generator.linear.weight)
    assert torch.equal(*starts)


def test_statistics_take_latents_of_a_device_without_float64():
    mu, labels = torch.randn(20, 4), torch.arange(20) % 2
    here, there = ClassStatistics(2, 4), ClassStatistics(2, 4)
    here.update(mu, labels)
    there.update(Lesser(mu), Lesser(labels))
    assert torch.equal(here.scatter, there.scatter)


def test_the_check_for_foreign_images_looks_at_a_device_without_float64():
    artifact, images = build_artifact(), torch.rand(4, 1, 32, 32) * 2 - 1
    model = LatentModel.of(artifact)
    here, there = Domain(artifact), Domain(artifact)
    here.look(images, model)
    there.look(Lesser(images), model)
    assert_close(torch.stack(here._latents), torch.stack(there._latents))


@pytest.mark.parametrize(
    "measure",
    [
        lambda x, y, answers, truth: fid.distances(x, y, seed=0),
        lambda x, y, answers, truth: linear_probe(x, truth, y, truth),
        lambda x, y, answers, truth: identity(x, y),
        lambda x, y, answers, truth: agreement(answers, truth),
        lambda x, y, answers, truth: competence(build_judge(CLASSES, 1), answers, truth),
        lambda x, y, answers, truth: affinity(answers.expand(2, -1), truth, truth),
    ],
    ids=["fid", "probe", "identity", "agreement", "competence", "affinity"],
)
def test_evaluation_takes_features_and_answers_of_a_device_without_float64(measure, monkeypatch):
    monkeypatch.setattr(fid, "SUBSETS", 3)
    given = torch.randn(12, 4), torch.randn(12, 4), torch.arange(12) % 2, torch.arange(12) % 3
    here, there = measure(*given), measure(*(Lesser(each) for each in given))
    assert repr(here) == repr(there)
