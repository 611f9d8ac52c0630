"""How good an artifact is."""
