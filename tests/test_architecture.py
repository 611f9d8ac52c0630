"""What is public, and how little an import loads."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from torchvision.datasets import folder

import semantic_aug
from semantic_aug._torchvision import IMG_EXTENSIONS

PACKAGE = Path(semantic_aug.__file__).parent
ROOT = Path(__file__).parents[1]
OPTIONAL = {"accelerate", "lpips", "tensorboard", "tqdm", "huggingface_hub", "gradio", "ray", "kornia", "sklearn"}


def test_the_public_names():
    assert semantic_aug.__all__ == sorted(semantic_aug.__all__, key=lambda name: (name.islower(), name))
    assert set(semantic_aug.__all__) == {*semantic_aug._MODULES, "__version__"}
    for name in semantic_aug.__all__:
        assert getattr(semantic_aug, name) is not None
        assert name in dir(semantic_aug)
    with pytest.raises(AttributeError, match="module 'semantic_aug' has no attribute 'SemanticAugmentation'"):
        semantic_aug.SemanticAugmentation  # noqa: B018


def test_type_checkers_see_the_public_names_where_they_are():
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    (seen,) = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    names = {name.name: node.module for node in seen.body for name in node.names}
    assert names == semantic_aug._MODULES | {"functional": "semantic_aug"}


def run(code):
    """What a fresh process prints: a set of words a line."""
    code = f"import sys\ndef loaded(): print(*{{name.split('.')[0] for name in sys.modules}})\n{code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [set(line.split()) for line in done.stdout.splitlines()]


IMPORTS = """
import semantic_aug
semantic_aug.__version__
loaded()
semantic_aug.functional.semantic_augment_image
loaded()
from semantic_aug import *
loaded()
"""


def test_the_package_alone_loads_no_torch_and_its_names_load_it_and_nothing_optional():
    alone, function, everything = run(IMPORTS)
    (already,) = run("import torch, torchvision.transforms.v2\nloaded()")
    assert not {"torch", "torchvision", "numpy", "safetensors"} & alone
    assert "torch" in function
    assert "torchvision" not in function
    assert not OPTIONAL & (everything - already)
    own = {"semantic_aug", "safetensors", "_safetensors_rust"}
    assert everything - already <= own | {"uuid", "_uuid", "secrets", "hmac"}


def test_the_files_that_torchvision_reads():
    assert IMG_EXTENSIONS == folder.IMG_EXTENSIONS


def test_wrong_imports_break_the_contracts(tmp_path):
    """lint-imports, which CI runs on the package, run on a copy with a few lines more."""
    shutil.copytree(PACKAGE, tmp_path / "semantic_aug", ignore=shutil.ignore_patterns("__pycache__", "checkpoints"))
    for module, line in {
        "perturb.py": "import semantic_aug.transform",
        "trainer/losses.py": "from semantic_aug import latents",
        "model/networks.py": "def late():\n    from semantic_aug.model import artifact",
        "figures/drawing.py": "import accelerate.utils",
    }.items():
        path = tmp_path / "semantic_aug" / module
        path.write_text(f"{path.read_text()}\n\n{line}\n")
    command = ["lint-imports", "--no-cache", "--config", str(ROOT / "pyproject.toml")]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    found = " ".join(done.stdout.split())
    assert done.returncode == 1
    assert found.count("BROKEN") >= 3, found
    for wrong in (
        "semantic_aug.perturb is not allowed to import semantic_aug.transform",
        "semantic_aug.trainer is not allowed to import semantic_aug.latents",
        "semantic_aug.model.networks is not allowed to import semantic_aug.model.artifact",
        "semantic_aug.figures is not allowed to import accelerate",
    ):
        assert wrong in found, found


def test_linters_have_one_version():
    pinned = dict(re.findall(r'"(ruff|mypy|import-linter)==([\d.]+)"', (ROOT / "pyproject.toml").read_text()))
    hooks = re.findall(r"repo: \S+/(\S+)\n    rev: v([\d.]+)", (ROOT / ".pre-commit-config.yaml").read_text())
    names = {"ruff-pre-commit": "ruff", "mirrors-mypy": "mypy", "import-linter": "import-linter"}
    assert {names[name]: version for name, version in hooks} == pinned


def test_no_pickle_is_read():
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        assert "torch.load" not in text, path
        assert "import pickle" not in text, path


@pytest.mark.parametrize(
    ("call", "modules"),
    [
        (
            r"\.write_(text|bytes)\(|json\.dump\(|[^e]\.open\([^)]*\"[wax]b?\"|[^.]open\([^)]*\"[wax]b?\"",
            {"_io", "model/format"},
        ),
        (r"safe_open\(", {"_files"}),
        (r"Image\.open\(", {"images"}),
        (r"NamedTemporary|TemporaryDirectory|mkstemp|mkdtemp", set()),
    ],
)
def test_files_are_written_and_opened_in_one_place(call, modules):
    """Whole or not at all, beside what they replace; with limits, and errors that name the file."""
    found = {path.relative_to(PACKAGE).with_suffix("").as_posix() for path in PACKAGE.rglob("*.py")}
    assert {name for name in found if re.search(call, (PACKAGE / f"{name}.py").read_text())} == modules
