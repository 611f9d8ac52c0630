"""Serve the page of ``semantic-aug app`` as a Space on the Hugging Face Hub.

python examples/space/app.py
"""

from semantic_aug import Artifact
from semantic_aug.app.page import serve
from semantic_aug.figures.sources import example_images

CHECKPOINT = "fashion-mnist-32"


def main() -> None:
    """Serve until the Space is stopped."""
    artifact = Artifact.from_pretrained(CHECKPOINT)
    serve(artifact, CHECKPOINT, example_images(artifact))


if __name__ == "__main__":
    main()
