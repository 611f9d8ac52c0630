"""``semantic-aug fit``: fit statistics of other classes on an existing checkpoint."""

import argparse
from dataclasses import replace
from pathlib import Path

from semantic_aug._text import printable
from semantic_aug.cli.options import Add
from semantic_aug.cli.paths import new

SUMMARY = "Fit statistics of your own classes on an existing checkpoint, without training."
EXAMPLE = "fit fer2013-48 faces/train --output my-checkpoint"


def add_options(add: Add) -> None:
    """Describe the verb's options."""
    add("checkpoint")
    add("data")
    add("--output", metavar="DIR", required=True, help="directory of the new checkpoint, which must not exist")
    add("--device")
    add("--skip-bad")


def run(options: argparse.Namespace) -> None:
    """Write the new artifact to ``--output``. Print which classes are too small, and warn of unsuitable images."""
    from semantic_aug import _distributed
    from semantic_aug.cli.data import load, say, warn_of_strangers
    from semantic_aug.cli.devices import chosen_device
    from semantic_aug.evaluation.quality import reconstruction
    from semantic_aug.model.artifact import Artifact
    from semantic_aug.trainer.fit import fit_statistics

    output = new(options.output)
    device = chosen_device(options.device)
    artifact = Artifact.from_pretrained(options.checkpoint)
    processes = _distributed.join(device)
    artifact = artifact.to(processes.device)
    data = load(artifact, options.data, skip_bad=options.skip_bad, same_classes=False)
    _distributed.check_equal(images=data.digest(), checkpoint=artifact.fingerprint)
    statistics = fit_statistics(artifact.encoder, data)
    statistics.factors(artifact.recommended.shrinkage)  # raises where no class has two images
    fitted = replace(
        artifact if data.classes == artifact.classes else artifact.unconditional(),
        statistics=statistics,
        classes=data.classes,
        reconstruction=reconstruction(artifact, data),
        training=artifact.training
        | {
            "fitted_from": printable(Path(options.checkpoint).name),
            "fitted_on": len(data),
            "fitted_in_processes": processes.num_processes,
        },
        card="",
    )
    if processes.is_main_process:
        fitted.save(output)
        lines = [f"wrote {output}: {len(data)} images, {len(data.classes)} classes"]
        if artifact.conditional and not fitted.conditional:
            lines.append(
                f"these are not the classes of {options.checkpoint}, so images are decoded without their class"
            )
        few = [f"{name} ({n})" for name, n in zip(data.classes, data.counts(), strict=True) if n < 2]
        if few:
            lines.append(f"too few images for a covariance of their own, the pooled one is taken: {', '.join(few)}")
        if "l1_mean" in artifact.reconstruction:
            own, error = artifact.reconstruction["l1_mean"], fitted.reconstruction["l1_mean"]
            of = options.checkpoint
            lines.append(f"reconstruction error (L1) {error:.3f}; of {of} on images of its own {own:.3f}")
        say(*lines, f'next: use it with SemanticAugment(checkpoint="{output}")')
        if "l1_mean" in artifact.reconstruction:
            warn_of_strangers(fitted, lambda i: data.batch(slice(i, i + 1)), len(data))
