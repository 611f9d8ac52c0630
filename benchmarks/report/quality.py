"""Tables of results from ``semantic-aug evaluate --json``: python -m benchmarks.report.quality FILE [FILE ...]

The markdown table has one column for each file, named after its stem, and one row for each figure.
"""

import json
import sys
from pathlib import Path

from benchmarks.report.markdown import make_table
from benchmarks.report.rows import RESULTS

STRENGTHS = ("0.1", "0.25", "0.35", "0.5", "1")
ROWS = {
    "reconstruction: L1 on [-1, 1]": ("reconstruction", "l1_mean"),
    "reconstruction: PSNR, dB": ("reconstruction", "psnr_mean"),
    "reconstruction: LPIPS": ("reconstruction", "lpips_mean"),
    "judge's accuracy: real images": ("agreement", "real", "accuracy"),
    "judge's accuracy: reconstructions": ("agreement", "reconstruction", "accuracy"),
    **{f"judge's accuracy: {mode}, strength {s}": ("agreement", mode, s, "accuracy")
       for mode in ("decode", "detail") for s in STRENGTHS},
    "judge's accuracy: new samples": ("agreement", "sample", "accuracy"),
    **{f"diversity (LPIPS of two draws): {mode}, {s}": ("diversity", mode, s)
       for mode in ("decode", "detail") for s in ("0.35", "1")},
    **{f"FID, LPIPS trunk: {' '.join(kind)}": ("realism", "squeezenet1_1", *kind, "fid")
       for kind in (("real",), ("reconstruction",), ("decode", "0.35"), ("detail", "0.35"), ("sample",))},
}  # fmt: skip


def table(files: list[Path]) -> str:
    """Return the table as markdown. A value that is missing in a file is shown as a dash."""
    columns = [json.loads(file.read_text()) for file in files]
    lines = []
    for name, path in ROWS.items():
        cells = []
        for column in columns:
            value = column
            for key in path:
                value = value.get(key, {})
            cells.append("-" if not isinstance(value, float) else f"{value:.4f}" if value < 1 else f"{value:.1f}")
        lines.append([name, *cells])
    return make_table(["", *(file.stem for file in files)], lines)


def make_agreement() -> str:
    """The text of the generated block ``agreement``: what the judge says of the default checkpoint's augmentations."""
    found = json.loads((RESULTS / "quality" / "fer2013-48.json").read_text())
    agreement, diversity = found["agreement"], found["diversity"]
    modes = ("decode", "detail")
    head = ["strength", *(f"`{mode}`, {figure}" for figure in ("accuracy", "diversity") for mode in modes)]
    lines = [
        [
            s,
            *(f"{agreement[mode][s]['accuracy']:.3f}" for mode in modes),
            *(f"{diversity[mode][s]:.3f}" for mode in modes),
        ]
        for s in agreement["detail"]
    ]
    return (
        f"{make_table(head, lines)}\n\nThe classifier's accuracy is {agreement['real']['accuracy']:.3f} on the real "
        f"images and {agreement['reconstruction']['accuracy']:.3f} on their reconstructions.\n"
    )


if __name__ == "__main__":
    print(table([Path(name) for name in sys.argv[1:]]))
