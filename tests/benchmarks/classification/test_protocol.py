import pytest
import torch

from benchmarks.classification.arms import parse_arm
from benchmarks.classification.measure import compute_logits
from benchmarks.classification.protocol import VERSION, resolve
from benchmarks.classification.train import train
from tests.benchmarks.classification.test_train import CPU, make_data, make_run
from tests.conftest import build_artifact


def test_settings_are_resolved_with_the_checkpoint():
    artifact = build_artifact()
    found = resolve(parse_arm("ours+randaugment"), "natural", {"strength": 2, "magnitude": 14}, artifact)
    assert found["strength"] == 2.0
    assert isinstance(found["strength"], float)
    assert (found["magnitude"], found["clean_epochs"], found["real_epochs"]) == (14, 0, 0)
    assert found["p"] == artifact.recommended.p
    assert found["fingerprint"] == artifact.fingerprint[:12]
    none = resolve(parse_arm("none"), "natural", {}, None)
    assert not {"clean_epochs", "real_epochs"} & none.keys()
    assert {"optimiser", "schedule", "weight_decay", "momentum", "crop", "warm_up"} <= none.keys()


# The logits of the first image after three steps. They change where the training, the draws, the network or a
# part of the arms changes, and then ``protocol.VERSION`` must be raised, so that old and new runs do not mix. With two
# threads, sums are taken in another order. After three steps, that moves a logit by up to 0.005.
PINNED = {
    "none": [0.0344, 0.1325, 0.0112],
    "randaugment": [-0.0048, 0.1233, 0.0487],
    "trivialaugment": [0.0343, 0.1296, 0.0765],
    "mixup": [0.0241, 0.1274, 0.0419],
    "cutmix": [-0.0152, 0.1793, 0.0277],
    "cmo": [0.0512, 0.1836, 0.0167],
    "randaugment/randaugment": [0.0012, 0.145, 0.0444],
}


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("arm", PINNED)
def test_a_change_of_results_raises_the_version(arm, one_thread):
    assert VERSION == 1
    network, _ = train(make_run(arm, epochs=1, learning_rate=0.01), make_data(), None, CPU)
    found = compute_logits(network, make_data(), CPU)[0]
    torch.testing.assert_close(found, torch.tensor(PINNED[arm]).double(), rtol=0, atol=2e-3)
