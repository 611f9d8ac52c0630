"""How many new images, and what each is made from."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semantic_aug._random import evenly, seeded
from semantic_aug.data.source import Source
from semantic_aug.expansion.plan import Plan, new_images


def test_how_many_new_images():
    assert new_images([5, 2, 9], balance=True) == [4, 7, 0]
    assert new_images([5, 2, 9], per_class=6) == [1, 4, 0]
    assert new_images([5, 2, 9], times=3) == [10, 4, 18]
    for wrong in ({}, {"balance": True, "times": 2}, {"per_class": 0}, {"times": 0}):
        with pytest.raises(ValueError, match=r"expected one of|must be at least 1, got 0"):
            new_images([5, 2, 9], **wrong)


def originals(labels, classes):
    files = [Path(f"{number}.png") for number in range(len(labels))]
    return Source("faces", [f"class {label}" for label in range(classes)], labels, files, None, [])


@given(st.permutations([0, 0, 0, 0, 0, 1, 1, 2, 2, 2, 3]), st.lists(st.integers(0, 9), min_size=4, max_size=4))
def test_the_plan_is_that_of_a_search_for_each_class(labels, new):
    """Plans were once made by looking through all labels for each class; expanded data sets depend on the draws."""
    plan = Plan(originals(labels, 4), new, seed=5)
    sources = [
        evenly((torch.tensor(labels) == label).nonzero().flatten(), count, seeded(5, "sources", f"class {label}"))
        for label, count in enumerate(new)
    ]
    order = torch.randperm(sum(new), generator=seeded(5, "order"))
    assert torch.equal(plan.sources, torch.cat(sources)[order])
    assert torch.equal(plan.copies, torch.cat([torch.arange(count) for count in new])[order])
