"""The fuzzer of artifacts, for a moment; ``python -m tests.fuzz 10000`` runs it for longer."""

import pytest

from tests.fuzz import fuzz


@pytest.mark.parametrize("conditional", [False, True])
def test_a_mutated_artifact_is_refused_or_augments_to_finite_images(conditional):
    found = fuzz(40, seed=0, conditional=conditional)
    assert found.keys() <= {"refused", "refused later", "fine"}, found
    assert found["refused"] > 10
    assert found["fine"] > 1
