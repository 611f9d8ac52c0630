"""Figures of an artifact, drawn as PNG and as HTML."""
