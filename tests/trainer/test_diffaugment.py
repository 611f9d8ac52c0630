import torch
from torch.testing import assert_close

from semantic_aug.trainer import diffaugment as module
from semantic_aug.trainer.diffaugment import UNIFORMS, diffaugment


def test_it_depends_on_its_numbers_and_differs_per_image():
    images = torch.rand(1, 1, 32, 32).expand(8, -1, -1, -1)
    uniform = torch.rand(8, UNIFORMS)
    out = diffaugment(images, uniform)
    assert out.shape == images.shape
    assert torch.equal(out, diffaugment(images, uniform))
    assert len(out.flatten(1).unique(dim=0)) == 8


def test_translation_equals_a_shift_with_zeros():
    images = torch.rand(2, 3, 8, 8)
    out = module._translate(images, torch.tensor([[2, -1], [0, 0]]))
    expected = torch.zeros(3, 8, 8)
    expected[:, :6, 1:] = images[0, :, 2:, :7]
    assert_close(out[0], expected)
    assert_close(out[1], images[1])


def test_cutout_is_a_square_around_its_centre():
    mask = module._cutout_mask(torch.tensor([[0.5, 0.5], [0.0, 1.0]]), 8)
    assert mask.shape == (2, 1, 8, 8)
    expected = torch.ones(8, 8, dtype=torch.bool)
    expected[2:6, 2:6] = False
    assert torch.equal(mask[0, 0], expected)
    assert int((~mask[1]).sum()) == 4


def test_gradients_flow():
    images = torch.rand(4, 1, 32, 32, requires_grad=True)
    diffaugment(images, torch.rand(4, UNIFORMS)).sum().backward()
    assert ((images.grad == 0) | (images.grad == 1)).all()
    assert images.grad.mean() > 0.3
