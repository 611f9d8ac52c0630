import torch

from benchmarks.classification.classifiers import CLASSIFIERS
from benchmarks.classification.dan import affinity, partition


def test_affinity_written_out():
    features, labels, centres = torch.randn(6, 4), torch.tensor([0, 2, 1, 1, 0, 2]), torch.randn(3, 4)
    soft = torch.nn.functional.one_hot(labels).float()
    numerator = sum(float(((f - centres[y]) ** 2).sum()) for f, y in zip(features, labels, strict=True)) / 6
    spread = 0.0
    for d in range(4):
        mean = float(centres[:, d].mean())
        spread += sum((float(c) - mean) ** 2 for c in centres[:, d]) / 2
    torch.testing.assert_close(affinity(features, soft, centres), torch.tensor(numerator / spread))


def test_partition_written_out():
    heads = torch.randn(5, 4, 3)
    variances = [heads[b, :, d].var(correction=1) for b in range(5) for d in range(3)]
    expected = torch.log(1 + 4 / torch.stack(variances).mean())
    torch.testing.assert_close(partition(heads), expected)


def test_losses_have_as_many_centres_as_classes_and_reach_everything():
    network = CLASSIFIERS["dan"](1, 7)
    assert network.centres.shape == (7, 512)
    logits, state = network(torch.randn(4, 1, 32, 32))
    features, heads = state
    assert (logits.shape, features.shape, heads.shape) == ((4, 7), (4, 512), (4, 4, 512))
    torch.testing.assert_close(heads.logsumexp(1), torch.zeros(4, 512), rtol=0, atol=1e-5)
    labels = torch.tensor([0, 3, 6, 3])
    hard = network.auxiliary(state, labels)
    soft = network.auxiliary(state, torch.nn.functional.one_hot(labels, 7).float())
    assert torch.equal(hard, soft)
    (torch.nn.functional.cross_entropy(logits, labels) + hard).backward()
    assert network.head.weight.std() > 10 * network.heads[0].channels[0].weight.std()  # 1 / sqrt(3 x 512) and 0.001
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_the_classifiers_are_those_of_the_protocol():
    for name, (width, millions) in {"resnet34": (512, 21.3), "resnet18-half": (256, 2.8), "dan": (512, 19.7)}.items():
        network = CLASSIFIERS[name](3, 5)
        assert network.head.in_features == width
        parameters = sum(p.numel() for p in network.parameters()) / 1e6
        assert abs(parameters - millions) < 0.1, (name, parameters)
    stem = CLASSIFIERS["resnet34"](3, 5).trunk.conv1
    assert (stem.kernel_size, stem.stride) == ((3, 3), (1, 1))
