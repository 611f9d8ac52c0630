"""How good an artifact is: reconstruction, realism, diversity and class agreement."""
