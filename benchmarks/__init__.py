"""Benchmarks of the package. ``classification`` and ``speed`` measure, and ``report`` writes the reports."""
