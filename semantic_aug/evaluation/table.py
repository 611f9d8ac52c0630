"""The plane as text: Markdown tables that line up in a terminal."""

from collections.abc import Iterator, Sequence

from semantic_aug.evaluation.affinity import Affinity, Competence, Measured
from semantic_aug.evaluation.compare import AGREE, Ahead, Reach
from semantic_aug.evaluation.estimate import Estimate
from semantic_aug.evaluation.plane import Plane

NOT_MEASURED = "not measured"


def table(plane: Plane) -> str:
    """Every kind of image, the comparisons, the judges and the probe, in percent ± one standard error."""
    judges = [name for name, judge in plane.judges.items() if judge.can_judge]
    head = ["images", "draws (LPIPS)"]
    for name in judges:
        head += [f"{name}: agree", "true class", "balanced"]
    lines = [[kind, *_cells(measured, judges)] for kind, measured in plane.measured.items()]
    parts = [_markdown([*head, "identity moved"], lines), *(verdict(*judge) for judge in plane.judges.items())]
    if plane.ahead:
        rows = [_ahead_row(ahead) for ahead in plane.ahead]
        parts.append(_markdown(["minus isotropic at equal draws", "judge", "agree", "true class", "balanced"], rows))
    if plane.reach:
        rows = [_reach_row(reach) for reach in plane.reach]
        parts.append(_markdown([f"where {AGREE:.0%} agree", "judge", "strength", "draws (LPIPS)"], rows))
    if plane.probe is not None:
        parts.append(
            f"A linear classifier on {plane.probe.images} training latents is right on {percent(plane.probe.accuracy)} "
            f"% of the held-out ones (balanced {percent(plane.probe.balanced)})."
        )
    return "\n\n".join(parts)


def percent(estimate: Estimate) -> str:
    """A proportion in percent, such as "71.9 ±2.2"."""
    return _with_error(estimate, 100, 1)


def distance(estimate: Estimate) -> str:
    """A distance, such as "0.086 ±0.002"."""
    return _with_error(estimate, 1, 3)


def _with_error(estimate: Estimate, scale: float, digits: int) -> str:
    error = "" if estimate.error is None else f" ±{scale * estimate.error:.{digits}f}"
    return f"{scale * estimate.value:.{digits}f}{error}"


def _cells(measured: Measured, judges: Sequence[str]) -> Iterator[str]:
    yield distance(measured.diversity) if measured.diversity.value else "0"
    for name in judges:
        yield from _of_affinity(measured.affinity[name])
    yield NOT_MEASURED if measured.identity is None else _with_error(measured.identity, 1, 2)


def _of_affinity(affinity: Affinity | Ahead) -> list[str]:
    return [percent(affinity.agree), percent(affinity.accuracy), percent(affinity.balanced)]


def verdict(name: str, judge: Competence) -> str:
    """One or two sentences on how well a judge does on real images."""
    known, chance = f"Judge {name}, trained on {judge.images} images,", f"{100 * judge.chance:.1f}"
    if judge.can_judge:
        right = f"{percent(judge.accuracy)} % of the real images (balanced {percent(judge.balanced)})"
        return f"{known} is right on {right}, where chance is {chance}."
    return (
        f"{known} cannot judge: it is right on {percent(judge.accuracy)} % of the real images, where chance is "
        f"{chance}, so what it says of others means nothing. Train a judge on more images, or for longer."
    )


def _ahead_row(ahead: Ahead) -> list[str]:
    return [str(ahead.point), ahead.judge, *_of_affinity(ahead)]


def _reach_row(reach: Reach) -> list[str]:
    bound = "" if reach.reached else "above "
    return [
        f"{reach.mode} {reach.perturbation}",
        reach.judge,
        f"{bound}{reach.strength:.2f}",
        f"{bound}{distance(reach.diversity)}",
    ]


def _markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    rule = ["-" * width for width in widths]
    padded = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in (head, rule, *lines))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in padded)
