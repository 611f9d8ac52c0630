import torch

from benchmarks.classification.crop import flip_crop


def test_flip_crop_written_out():
    images = torch.randint(0, 256, (6, 3, 24, 24), dtype=torch.uint8)
    uniform = torch.rand(6, 3)
    uniform[0], uniform[1] = 0.0, 0.999
    found = flip_crop(images, uniform)
    for i in range(6):
        down, right = (int((u * 2 - 1) * 24 / 12 * 1.0 + 100.5) - 100 for u in uniform[i, :2].tolist())
        padded = torch.nn.functional.pad(images[i : i + 1].float(), (2, 2, 2, 2), mode="replicate")[0]
        expected = padded[:, 2 + down : 26 + down, 2 + right : 26 + right].to(torch.uint8)
        assert torch.equal(found[i], expected.flip(2) if uniform[i, 2] < 0.5 else expected)
