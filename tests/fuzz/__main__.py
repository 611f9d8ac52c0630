"""Fuzzer of every kind of file that the package reads: ``python -m tests.fuzz 1000 --seed 0``.

It changes files by their structure, by their bytes or as a whole, and makes hashes right again, so that what is tested
are the checks behind them. A file must give what it gave before, be refused in a few words that name it, or, where no
hash protects it, be another valid file. The table of outcomes is printed, with the peak memory of each kind (on Linux).
"""

import argparse
import math
import resource
import sys

from tests.fuzz.kinds import KINDS
from tests.fuzz.run import RIGHT, forget_peak, fuzz, peak_mb

LARGEST = 9 << 30  # bytes of the address space

parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
parser.add_argument("times", type=int, help="mutations of each kind")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--minutes", type=float, default=math.inf, help="at most so long for each kind")
parser.add_argument("--kind", action="append", choices=KINDS, help="only this kind, as often as need be")
options = parser.parse_args()
print(f"{'kind':24}{'mutations':>10}{''.join(f'{name:>9}' for name in RIGHT)}{'wrong':>9}{'peak MB':>9}", flush=True)
resource.setrlimit(resource.RLIMIT_AS, (LARGEST, LARGEST))  # a file that takes more is an unclean MemoryError
faults = 0
for name in options.kind or KINDS:
    forget_peak()
    found = fuzz(name, options.times, options.seed, options.minutes)
    wrong = found.total() - sum(found[each] for each in RIGHT)
    faults += wrong
    row = [*(found[each] for each in RIGHT), wrong, round(peak_mb())]
    print(f"{name:24}{found.total():>10}{''.join(f'{value:>9}' for value in row)}", flush=True)
    for text in found.keys() - set(RIGHT):
        print(f"  {found[text]:>6} {text}", flush=True)
sys.exit(min(faults, 1))
