"""Benchmarks of the package: ``classification``, ``speed``, and ``report``, which makes the tables."""
