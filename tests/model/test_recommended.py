import math

import pytest

from semantic_aug.model.recommended import Recommended


def test_defaults():
    assert Recommended() == Recommended(mode="detail", p=0.5, shrinkage="oas", strength=0.35)


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("mode", "encode", "mode must be one of"),
        ("p", 1.5, r"p must be a number in \[0, 1\], got 1.5"),
        ("p", True, "p must be a number"),
        ("p", "half", "p must be a number"),
        ("strength", -1, "strength must be a number in"),
        ("strength", math.nan, "strength must be a number in"),
        ("strength", 1e7, "strength must be a number in"),
        ("shrinkage", "lw", "shrinkage must be"),
        ("shrinkage", 1.5, "shrinkage must be"),
    ],
)
def test_values_out_of_range_are_refused(setting, value, message):
    with pytest.raises(ValueError, match=message):
        Recommended(**{setting: value})
