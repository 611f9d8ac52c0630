"""The examples in the docstrings of the public names, run as they stand."""

import inspect
import textwrap

import PIL.Image
import pytest
import torch
from torch.utils.data import DataLoader
from torchvision.transforms import v2

import semantic_aug

PUBLIC = {name: getattr(semantic_aug, name) for name in semantic_aug.__all__}
GIVEN = {"torch": torch, "v2": v2, "PIL": PIL, "DataLoader": DataLoader}


def example_blocks(docstring):
    """The literal blocks after each line that ends in ``Example::``, as source code."""
    lines = inspect.cleandoc(docstring or "").splitlines()
    for start, line in enumerate(lines):
        if line.endswith("Example::"):
            margin, block = len(line) - len(line.lstrip()), []
            for following in lines[start + 1 :]:
                if following.strip() and len(following) - len(following.lstrip()) <= margin:
                    break
                block.append(following)
            yield textwrap.dedent("\n".join(block)).strip()


def find_examples():
    """Every example of a public name, of its methods and, for a module, of its functions."""
    for name, public in PUBLIC.items():
        members = vars(public) if inspect.isclass(public) or inspect.ismodule(public) else {}
        documented = {name: public} | {f"{name}.{member}": value for member, value in members.items()}
        for label, value in documented.items():
            value = getattr(value, "__func__", value)  # class methods
            own = getattr(value, "__module__", "").startswith("semantic_aug") or inspect.ismodule(public)
            if own and isinstance(getattr(value, "__doc__", None), str):
                yield from (pytest.param(block, id=label) for block in example_blocks(value.__doc__))


EXAMPLES = list(find_examples())


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_example_runs(example, tmp_path, monkeypatch, no_warnings):
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "example", "exec"), GIVEN | PUBLIC)


def test_every_public_class_has_an_example():
    classes = {name for name, public in PUBLIC.items() if inspect.isclass(public) and not issubclass(public, Exception)}
    assert classes
    assert classes <= {example.id for example in EXAMPLES}


def test_blocks_end_where_the_indentation_does():
    docstring = """Do something.

    Example::

        for i in range(2):
            print(i)

        print("done")

    Raises ValueError.
    """
    assert list(example_blocks(docstring)) == ['for i in range(2):\n    print(i)\n\nprint("done")']
    assert list(example_blocks("Without one.")) == list(example_blocks(None)) == []
