import dataclasses
from itertools import pairwise

import pytest

from semantic_aug.model.networks import PRESETS
from semantic_aug.trainer.config import TrainConfig, differences

TINY = PRESETS["tiny"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("images", 0),
        ("batch", -1),
        ("learning_rate", float("nan")),
        ("kl_weight", -1e-9),
        ("decay", 1.1),
        ("held_out", 1.0),
        ("seed", -1),
        ("lpips_net", "resnet"),
        ("precision", "fp8"),
        ("adversarial_start", 2),
        ("ema_images", 0),
        ("gradient_clip", float("inf")),
        ("lpips_every", 0),
        ("accumulate", 0),
        ("sampling", "random"),
        ("class_weight", -1),
        ("label_dropout", 1.5),
        ("classifier_epochs", 0),
        ("feature_weight", float("nan")),
        ("agreement_weight", -0.1),
        ("draw_start", -0.1),
        ("draw_weight", float("inf")),
        ("diversity_weight", -1),
    ],
)
def test_values_out_of_range_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        TrainConfig(network=TINY, **{field: value})


def test_a_batch_is_shared_out_evenly_or_refused():
    config = TrainConfig(network=TINY, batch=24, accumulate=3, draw_start=1)
    assert config.share(1) == 8
    assert config.share(4) == 2
    with pytest.raises(ValueError, match=r"batch must be a multiple of 18 \(2 x 3 processes x accumulate 3\), got 24"):
        config.share(3)
    with pytest.raises(ValueError, match=r"batch must be a multiple of 2"):
        TrainConfig(network=TINY, batch=7, draw_start=1)
    with pytest.raises(ValueError, match=r"batch must be a multiple of 4 \(4 x 1 processes x accumulate 1\), got 6"):
        TrainConfig(network=TINY, batch=6)


def test_diffaugment_is_on_for_small_data_alone():
    def config(n, **options):
        return TrainConfig(network=TINY, data={"a": n // 2, "b": n - n // 2}, **options)

    assert config(49_999).uses_diffaugment
    assert not config(50_000).uses_diffaugment
    assert config(60_000, diffaugment=True).uses_diffaugment
    assert not config(10, diffaugment=False).uses_diffaugment


def test_the_class_is_asked_for_where_there_are_two():
    def config(**options):
        return TrainConfig(network=TINY, **({"data": {"a": 5, "b": 1}} | options))

    assert config().uses_classifier
    assert config().uses_class_head
    one = config(data={"a": 6})
    assert (one.uses_classifier, one.uses_class_head, one.uses_draws) == (False, False, True)
    assert not config(class_weight=0).uses_class_head
    silent = {"feature_weight": 0, "agreement_weight": 0}
    assert config(**silent).uses_classifier
    assert not config(**silent, draw_weight=0).uses_classifier
    assert not config(**silent, draw_start=1).uses_classifier


def test_differences_name_nested_fields():
    a = dataclasses.asdict(TrainConfig(network=TINY, images=10, data={"a": 1}))
    b = dataclasses.asdict(TrainConfig(network=PRESETS["fer2013-48"], images=20, data={"b": 1}))
    lines = differences(a, b)
    assert "images: 10 there, 20 here" in lines
    assert "network.image_size: 32 there, 48 here" in lines
    assert "data.a: 1 there, None here" in lines
    assert differences(a, a) == []


def test_every_field_is_documented():
    import ast
    import inspect

    body = ast.parse(inspect.getsource(TrainConfig)).body[0].body
    for field, following in pairwise(body):
        if isinstance(field, ast.AnnAssign):
            assert isinstance(following, ast.Expr), f"{field.target.id} has no docstring"
