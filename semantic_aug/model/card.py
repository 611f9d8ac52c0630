"""The model card for an artifact that has none, made from its ``config.json``."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

from semantic_aug._text import printable

TEMPLATE = """---
license: {license}
library_name: semantic-aug
tags: [data-augmentation, vae-gan, long-tailed]
---
# {name}

This is a VAE-GAN of {size}-pixel {colour} images with the latent covariance of each of {classes} classes, for use with
semantic-aug:

```python
from semantic_aug import SemanticAugmentBatch

augment = SemanticAugmentBatch(checkpoint="{repo_id}", classes=dataset.classes)
```

{pictures}## Classes

| class | training images |
|---|---|
{counts}

## Figures

{figures} Recommended: `mode` {mode}, `p` {p}, `strength` {strength}, `shrinkage` {shrinkage}.

## Training

{training}

## Data, use, limits

This artifact is meant for augmenting training images like those that it was trained on. Other images get a warning. Its
author has not stated here where its training images come from, what their terms are, or what biases they have. The
augmentations inherit all three.
"""


def model_card(repo_id: str, config: Mapping[str, Any], pictures: Sequence[str], license: str) -> str:
    """Markdown with the Hub's YAML front matter: use, classes, measured figures, training, pictures beside it."""
    counts = zip(config["classes"], config["counts"], strict=True)
    return TEMPLATE.format(
        license=license,
        repo_id=repo_id,
        name=repo_id.split("/")[-1],
        size=config["image_size"],
        colour={1: "grey", 3: "RGB"}[config["channels"]],
        classes=len(config["classes"]),
        pictures="".join(f"![{picture}]({picture})\n\n" for picture in pictures),
        counts="\n".join(f"| {_escape(name)} | {count} |" for name, count in counts),
        figures=_figures(config["reconstruction"]),
        training=_training(config["training"]),
        **config["recommended"],
    )


def _figures(measured: Mapping[str, float]) -> str:
    names = {"l1": "L1 on [-1, 1]", "lpips": "LPIPS (SqueezeNet)"}
    parts = [
        f"{text} {measured[f'{name}_mean']:.4f} (standard deviation {measured[f'{name}_std']:.4f})"
        for name, text in names.items()
        if f"{name}_mean" in measured
    ]
    if not parts:
        return "Not measured."
    return f"Reconstruction of {measured.get('images', 'some')} held-out images: {', '.join(parts)}."


def _training(training: Mapping[str, Any]) -> str:
    """One line for each simple value. All settings are in ``config.json``."""
    known = {name: value for name, value in training.items() if isinstance(value, str | int | float)}
    lines = [f"- {_escape(name)}: {_code(value) if isinstance(value, str) else value}" for name, value in known.items()]
    return "\n".join(lines) or "Not stated."


def _escape(text: str) -> str:
    """Text that Markdown and HTML show as it is."""
    shown = html.escape(printable(text))
    return "".join(f"&#{ord(each)};" if each in r"\`*[]#|~:" else each for each in shown)


def _code(text: str) -> str:
    """Text as code, in which only a backtick means anything."""
    return f"`{printable(text).replace('`', chr(39))}`"
