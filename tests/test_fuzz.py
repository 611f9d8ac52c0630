"""The fuzzer of every kind of file, for a moment; ``python -m tests.fuzz 1000`` runs it for longer."""

import pytest

from tests.fuzz.kinds import KINDS
from tests.fuzz.run import RIGHT, fuzz

SLOW = {"folder of datasets": pytest.mark.slow}  # imports the package datasets
ARTIFACTS, OTHERS = 40, 8


@pytest.mark.parametrize("name", [pytest.param(name, marks=SLOW.get(name, ())) for name in KINDS])
def test_a_mutated_file_is_refused_or_a_valid_one(name):
    found = fuzz(name, ARTIFACTS if "artifact" in name else OTHERS, seed=0)
    assert found.keys() <= set(RIGHT), found
    assert found["refused"] or found["equal"]
