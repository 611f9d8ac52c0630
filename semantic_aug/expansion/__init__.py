"""A balanced data set written to disk."""
