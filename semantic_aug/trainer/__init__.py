"""Building artifacts: data, training loop, statistics, evaluation. Needs the extra ``train``."""
