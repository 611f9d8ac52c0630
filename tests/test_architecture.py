"""What is public, and how little an import loads."""

import subprocess
import sys
from pathlib import Path

import semantic_aug

PACKAGE = Path(semantic_aug.__file__).parent
OPTIONAL = {"accelerate", "lpips", "tensorboard", "tqdm", "huggingface_hub", "gradio", "ray", "kornia", "sklearn"}


def test_the_public_names():
    assert semantic_aug.__all__ == sorted(semantic_aug.__all__, key=lambda name: (name.islower(), name))
    for name in semantic_aug.__all__:
        assert getattr(semantic_aug, name) is not None


def test_importing_loads_nothing_optional():
    code = "import sys, semantic_aug; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    baseline = "import sys, torch, torchvision.transforms.v2; print(*{name.split('.')[0] for name in sys.modules})"
    already = set(
        subprocess.run([sys.executable, "-c", baseline], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not OPTIONAL & (loaded - already)
    assert loaded - already <= {"semantic_aug", "safetensors", "_safetensors_rust", "uuid", "_uuid", "secrets", "hmac"}


def test_no_pickle_is_read():
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        assert "torch.load" not in text, path
        assert "import pickle" not in text, path
