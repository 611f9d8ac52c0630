"""``python -m benchmarks.classification``."""

import sys

from benchmarks.classification.command import main

sys.exit(main())
