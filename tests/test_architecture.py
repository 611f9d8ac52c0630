"""The layout: who may import whom, what is public, and how little an import loads."""

import argparse
import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import semantic_aug
from semantic_aug import cli

PACKAGE = Path(semantic_aug.__file__).parent
# A module imports only modules of rows above its own.
ROWS = [
    {"card", "completion", "files", "images", "networks", "statistics", "hub", "labels", "sampling", "progress"},
    {"perturb", "artifact", "plan"},
    {"functional", "fast", "domain"},
    {"augmenter", "preview", "recipe"},
    {"transform", "batch", "latents", "figures", "layouts"},
    {"demo", "loader", "page", "expand", "cluster"},
    {"playground"},
    {"app"},
    {"cli"},  # imports a verb when it is asked for
    {"__main__", "__init__"},
]
SHARED_BY_VERBS = {"data", "devices", "paths"}
TRAINER_MAY_IMPORT = ROWS[0] | ROWS[1] | ROWS[2] | {"preview"}
OPTIONAL = {"accelerate", "lpips", "tensorboard", "tqdm", "huggingface_hub", "gradio", "ray", "kornia", "sklearn"}


def imports(path):
    """Modules below the package that a file names, as "images" or "trainer.loop"."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            package = node.module in ("semantic_aug", "semantic_aug.trainer")
            names = [f"{node.module}.{alias.name}" for alias in node.names] if package else [node.module]
            found |= {name.removeprefix("semantic_aug.") for name in names if name.startswith("semantic_aug.")}
    return found


def test_a_module_imports_only_rows_above_it():
    row = {module: number for number, modules in enumerate(ROWS) for module in modules}
    modules = {path.stem: path for path in PACKAGE.glob("*.py")}
    assert set(modules) == set(row)
    for module, path in modules.items():
        for imported in imports(path):
            if imported.startswith("trainer."):
                assert module in ("playground", "app"), f"{module} imports {imported}"
            else:
                assert row[imported] < row[module], f"{module} imports {imported}"


def test_the_trainer_knows_nothing_of_the_transforms():
    paths = list((PACKAGE / "trainer").glob("*.py"))
    assert len(paths) > 8
    for path in paths:
        outside = {name for name in imports(path) if name.split(".")[0] != "trainer"}
        assert outside <= TRAINER_MAY_IMPORT | {"__version__"}, f"{path.name} imports {outside - TRAINER_MAY_IMPORT}"


def test_a_module_for_each_verb_and_nobody_imports_them():
    (verbs,) = (action for action in cli._parser()._actions if isinstance(action, argparse._SubParsersAction))
    assert {path.stem for path in (PACKAGE / "verbs").glob("*.py")} == {*verbs.choices, *SHARED_BY_VERBS, "__init__"}
    for verb in verbs.choices:
        assert callable(import_module(f"semantic_aug.verbs.{verb}").run)
    for path in PACKAGE.rglob("*.py"):
        imported = {name.split(".")[1] for name in imports(path) if name.startswith("verbs.")}
        assert imported <= (SHARED_BY_VERBS if path.parent.name == "verbs" else set()), f"{path} imports {imported}"


def test_only_the_trainer_names_training_packages():
    for path in PACKAGE.glob("*.py"):
        assert not {"accelerate", "lpips", "tensorboard"} & set(path.read_text().split()), path.name


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
