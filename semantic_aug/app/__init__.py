"""The interactive demo, a Gradio page."""
