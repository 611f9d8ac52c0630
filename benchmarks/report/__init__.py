"""Reports with tables and figures, generated from stored results."""
