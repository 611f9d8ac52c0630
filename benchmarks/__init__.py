"""What the package is measured with: ``classification``, ``speed``, and ``report``, which makes the tables."""
