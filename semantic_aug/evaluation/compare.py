"""Compare perturbations on the plane, with curves along the strength that are read at equal diversity."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from semantic_aug.evaluation.affinity import Measured
from semantic_aug.evaluation.estimate import Estimate, exact, read_off
from semantic_aug.evaluation.points import REAL, RECONSTRUCTION, Point
from semantic_aug.model.recommended import Mode

AGREE = 0.75  # the agreement at which diversities are compared
BASE = "isotropic"  # the perturbation that others are compared with


@dataclass(frozen=True, kw_only=True)
class Ahead:
    """The affinity of a point minus that of isotropic noise in the same mode at equal diversity, for one judge."""

    point: Point
    judge: str
    agree: Estimate
    accuracy: Estimate
    balanced: Estimate


@dataclass(frozen=True, kw_only=True)
class Reach:
    """How diverse draws are at the strength where a judge's agreement has fallen to ``AGREE``.

    If it has not fallen that far at the largest strength measured, ``strength`` and ``diversity`` are those of this
    strength, and ``reached`` is False. They are then lower bounds.
    """

    mode: Mode
    perturbation: str
    judge: str
    strength: float
    diversity: Estimate
    reached: bool


def compare(measured: Mapping[str, Measured], judges: Sequence[str]) -> tuple[list[Ahead], list[Reach]]:
    """``Ahead`` of every point, and ``Reach`` of every mode and perturbation, for each judge.

    A point is skipped if the isotropic points of its mode do not reach its diversity. A curve is skipped if the
    agreement is below ``AGREE`` even at strength 0.
    """
    lines = curves(measured)
    points = [each.point for each in measured.values() if each.point is not None]
    ahead = [
        found
        for point in points
        if point.perturbation != BASE and (point.mode, BASE) in lines
        for judge in judges
        for found in _ahead(measured[str(point)], point, lines[point.mode, BASE], judge)
    ]
    reach = [
        found
        for (mode, perturbation), line in lines.items()
        for judge in judges
        for found in _reach(line, mode, perturbation, judge)
    ]
    return ahead, reach


def curves(measured: Mapping[str, Measured]) -> dict[tuple[Mode, str], list[Measured]]:
    """Mode and perturbation => their points in order of increasing strength.

    The first is strength 0, where detail gives the real image and decode its reconstruction.
    """
    lines: dict[tuple[Mode, str], list[Measured]] = {}
    for each in sorted(measured.values(), key=lambda each: each.strength):
        if each.point is not None:
            start = measured[REAL if each.point.mode == "detail" else RECONSTRUCTION]
            lines.setdefault((each.point.mode, each.point.perturbation), [start]).append(each)
    return lines


def _ahead(here: Measured, point: Point, base: Sequence[Measured], judge: str) -> Iterator[Ahead]:
    ahead = {}
    for measure in ("agree", "accuracy", "balanced"):
        curve = [(each.diversity, getattr(each.affinity[judge], measure)) for each in base]
        there = read_off(curve, here.diversity)
        if there is None:
            return
        ahead[measure] = getattr(here.affinity[judge], measure) - there
    yield Ahead(point=point, judge=judge, **ahead)


def _reach(line: Sequence[Measured], mode: Mode, perturbation: str, judge: str) -> Iterator[Reach]:
    agree = [each.affinity[judge].agree for each in line]
    diversity = [each.diversity for each in line]
    if agree[0].value < AGREE:
        return
    images = len(agree[0].influence)
    steps = [exact(math.sqrt(each.strength), images) for each in line]  # diversity grows with the square root
    at, step = (read_off(list(zip(agree, values, strict=True)), exact(AGREE, images)) for values in (diversity, steps))
    yield Reach(
        mode=mode,
        perturbation=perturbation,
        judge=judge,
        reached=step is not None,
        strength=(step or steps[-1]).value ** 2,
        diversity=at or diversity[-1],
    )
