"""Tables and figures that are made from stored results."""
