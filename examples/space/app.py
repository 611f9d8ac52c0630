"""Serve the page of ``semantic-aug app`` as a Space on the Hugging Face Hub.

python examples/space/app.py
"""

from semantic_aug import Artifact
from semantic_aug.app.page import serve
from semantic_aug.figures.sources import draw_sources

CHECKPOINT = "fer2013-48"

if __name__ == "__main__":
    artifact = Artifact.from_pretrained(CHECKPOINT)
    serve(artifact, CHECKPOINT, draw_sources(artifact))
