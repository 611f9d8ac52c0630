"""What a checkpoint is, in a few facts, for notebooks and pages."""

from html import escape
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from semantic_aug.model.artifact import Artifact

NAMED = 12  # classes that are listed


def facts(artifact: "Artifact") -> list[tuple[str, str, str]]:
    """Terms, each with its value and a note, as plain text."""
    network, recommended, error = artifact.network, artifact.recommended, artifact.reconstruction
    count = artifact.statistics.count
    most_first = count.argsort(descending=True, stable=True).tolist()
    named = [f"{artifact.classes[label]} {thousands(int(count[label]))}" for label in most_first]
    found = [
        ("Classes", f"{len(named)}", ", ".join(named[:NAMED]) + (", ..." if len(named) > NAMED else "")),
        (
            "Training images",
            thousands(int(count.sum())),
            f"imbalance {imbalance(count):.3g}, largest class to smallest",
        ),
        (
            "Image",
            f"{network.image_size} \u00d7 {network.image_size}, {'grey' if network.channels == 1 else 'RGB'}",
            f"latent of {network.latent_dim} numbers",
        ),
        (
            "Recommended",
            f"{recommended.mode}, strength {recommended.strength:g}",
            f"p {recommended.p:g}, shrinkage {recommended.shrinkage}",
        ),
    ]
    for key, term in (("l1", "Reconstruction error, L1 on [-1, 1]"), ("lpips", "Reconstruction error, LPIPS")):
        if f"{key}_mean" in error:
            number = f"{error[f'{key}_mean']:.4f} ± {error.get(f'{key}_std', 0):.4f}"
            found.append((term, number, f"over {thousands(int(error.get('images', 0)))} held-out images"))
    return found


def to_table(artifact: "Artifact") -> str:
    """The facts as an HTML table."""
    rows = "".join(
        f'<tr><th style="text-align: left">{escape(term)}</th><td style="text-align: left">{escape(value)}</td>'
        f'<td style="text-align: left">{escape(note)}</td></tr>'
        for term, value, note in facts(artifact)
    )
    return f"<table><caption>{escape(str(artifact.directory or 'artifact'))}</caption>{rows}</table>"


def imbalance(count: Tensor) -> float:
    """The ratio of the largest class to the smallest class that has images."""
    return int(count.max()) / int(count[count > 0].min())


def thousands(number: int) -> str:
    """Format a number with thin spaces, such as "28 709"."""
    return f"{number:,}".replace(",", "\u202f")
