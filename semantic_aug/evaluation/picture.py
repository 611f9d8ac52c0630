"""The plane as a picture."""

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from semantic_aug.evaluation.affinity import Measured
from semantic_aug.evaluation.compare import curves
from semantic_aug.evaluation.plane import Plane
from semantic_aug.evaluation.points import RANDAUGMENT, RECONSTRUCTION

SIDE, LEFT, GAP, TOP, BOTTOM = 420, 56, 24, 32, 48  # pixels: of a panel, and around it
LEGEND, ROW = 170, 22  # pixels: its width, at the right of all panels, and the height of a line in it
TEXT, RADIUS, STEP = 13, 5, 0.05  # pixels, pixels, and diversity between two grid lines
COLOURS = ("#3b6ea8", "#d1682e", "#4f9d5b", "#8a5aa8", "#9a7b4f", "#5f6b73")  # one for each perturbation, in turn
INK, FAINT = "black", "#dddddd"

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont  # the latter where Pillow was built without FreeType


def picture(plane: Plane) -> Image.Image:
    """Agreement against diversity: a panel for each judge that can judge, a line for each mode and perturbation.

    Vertical bars are one standard error up and down, numbers are strengths. Raises ValueError where no judge can judge.
    """
    judges = [name for name, judge in plane.judges.items() if judge.can_judge]
    if not judges:
        raise ValueError("no judge can judge these images, so there is nothing to draw; print the table")
    lines = curves(plane.measured)
    names = dict.fromkeys(perturbation for _, perturbation in lines)
    colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(names)}
    end = STEP * max(1, math.ceil(max(each.diversity.value for each in plane.measured.values()) / STEP))
    width = LEFT + SIDE + GAP
    image = Image.new("RGB", (len(judges) * width + LEGEND, TOP + SIDE + BOTTOM), "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(TEXT)
    for number, judge in enumerate(judges):
        panel = _Panel(draw, font, number * width + LEFT, end, judge)
        panel.frame()
        for (mode, perturbation), line in lines.items():
            panel.line(line, colours[perturbation], filled=mode == "detail")
        panel.mark(plane.measured[RANDAUGMENT], RANDAUGMENT, -14)  # mostly above the lines
        panel.mark(plane.measured[RECONSTRUCTION], RECONSTRUCTION, 14)  # where the lines of decode begin
    for number, (mode, perturbation) in enumerate(lines):
        x, y = len(judges) * width + RADIUS, TOP + (number + 0.5) * ROW
        _dot(draw, x, y, colours[perturbation], filled=mode == "detail")
        draw.text((x + 12, y), f"{mode} {perturbation}", INK, font, anchor="lm")
    return image


class _Panel:
    """One judge's part of the picture; diversity to the right, from 0 to ``end``, agreement upward, from 0 to 1."""

    def __init__(self, draw: ImageDraw.ImageDraw, font: Font, left: int, end: float, judge: str):
        self.draw, self.font, self.left, self.end, self.judge = draw, font, left, end, judge

    def at(self, diversity: float, agree: float) -> tuple[float, float]:
        return self.left + SIDE * diversity / self.end, TOP + SIDE * (1 - agree)

    def frame(self) -> None:
        """Grid lines with their numbers, and what the axes are."""
        for tenth in range(0, 11, 2):
            x, y = self.at(0, tenth / 10)
            self.draw.line((x, y, x + SIDE, y), FAINT)
            self._text((x - 6, y), f"{tenth / 10:.0%}", "rm")
        for step in range(round(self.end / STEP) + 1):
            x, y = self.at(step * STEP, 0)
            self.draw.line((x, y, x, y - SIDE), FAINT)
            self._text((x, y + 6), f"{step * STEP:.2f}", "ma")
        self._text((self.left, TOP - 12), f"agreement of the judge {self.judge}", "ls")
        self._text((self.left + SIDE, TOP + SIDE + 26), "LPIPS of two draws", "ra")

    def line(self, line: Sequence[Measured], colour: str, *, filled: bool) -> None:
        """A curve along the strength, which starts at strength 0."""
        places = [self._place(each) for each in line]
        self.draw.line(places, colour, 2)
        for each, (x, y) in zip(line[1:], places[1:], strict=True):
            self._bar(each, colour)
            _dot(self.draw, x, y, colour, filled=filled)
            self._text((x + 7, y - 3), f"{each.strength:g}", "ls", colour)

    def mark(self, each: Measured, name: str, down: int) -> None:
        """A single point with its name ``down`` pixels below it."""
        x, y = self._place(each)
        self._bar(each, INK)
        self.draw.polygon([(x, y - 7), (x + 7, y), (x, y + 7), (x - 7, y)], INK)
        fits = x + 12 + self.font.getlength(name) < self.left + SIDE
        self._text((x + 8 if fits else x - 8, y + down), name, "lm" if fits else "rm")

    def _place(self, each: Measured) -> tuple[float, float]:
        return self.at(each.diversity.value, each.affinity[self.judge].agree.value)

    def _bar(self, each: Measured, colour: str) -> None:
        x, y = self._place(each)
        half = SIDE * (each.affinity[self.judge].agree.error or 0)
        self.draw.line((x, y - half, x, y + half), colour)

    def _text(self, place: tuple[float, float], text: str, anchor: str, colour: str = INK) -> None:
        self.draw.text(place, text, colour, self.font, anchor=anchor)


def _dot(draw: ImageDraw.ImageDraw, x: float, y: float, colour: str, *, filled: bool) -> None:
    draw.ellipse((x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS), colour if filled else "white", colour, 2)
