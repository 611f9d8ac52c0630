import pytest

from semantic_aug.evaluation.picture import LEFT, LEGEND, SIDE, picture
from semantic_aug.evaluation.plane import plane
from semantic_aug.evaluation.points import Point
from semantic_aug.evaluation.table import NOT_MEASURED, distance, percent, table
from tests.evaluation import made_up
from tests.evaluation.made_up import Nothing, build_images, build_judge, difference

POINTS = [Point(mode, name, 4.0) for mode in ("decode", "detail") for name in ("covariance", "isotropic")]


def measure(judges, **options):
    return plane(made_up.build_artifact(), build_images(60), judges, difference, points=POINTS, **options)


@pytest.fixture(scope="module")
def found():
    judges = {"signs": build_judge(), "nothing": build_judge(Nothing())}
    return measure(judges, training=build_images(20), embed=made_up.encode)


def test_the_table_holds_every_figure_once(found):
    text = table(found)
    rows = {line.split("|")[1].strip(): line for line in text.split("\n\n")[0].splitlines()}
    for kind, of in found.measured.items():
        affinity = of.affinity["signs"]
        for cell in (percent(affinity.agree), percent(affinity.balanced), f"{of.identity.value:.2f}"):
            assert cell in rows[kind]
        assert of.diversity.value == 0 or distance(of.diversity) in rows[kind]
    assert "signs: agree" in rows["images"]
    assert "Judge signs, trained on 5 images, is right on 100.0 ±0.0 % of the real images" in text
    assert f"A linear classifier on 40 training latents is right on {percent(found.probe.accuracy)} %" in text
    widths = {len(line) for line in text.split("\n\n")[0].splitlines()}
    assert len(widths) == 1


def test_a_judge_that_cannot_judge_has_no_columns_and_is_named(found):
    text = table(found)
    assert "nothing: agree" not in text
    assert "Judge nothing, trained on 5 images, cannot judge: it is right on " in text


def test_what_was_not_measured_says_so():
    text = table(measure({}))
    assert NOT_MEASURED in text
    assert "agree" not in text
    assert "linear classifier" not in text


def test_the_picture_has_a_panel_for_each_judge_that_can_judge(found):
    one = picture(found)
    assert one.tobytes() == picture(found).tobytes()
    two = picture(measure({"signs": build_judge(), "more": build_judge()}))
    assert two.width - one.width == one.width - LEGEND
    assert two.height == one.height
    panel = one.crop((LEFT, 0, LEFT + SIDE, one.height))
    assert {(59, 110, 168), (209, 104, 46)} <= {colour for _, colour in panel.getcolors(1 << 16)}  # of the two curves


def test_no_picture_without_a_judge_that_can_judge():
    with pytest.raises(ValueError, match="no judge can judge"):
        picture(measure({"nothing": build_judge(Nothing())}))
