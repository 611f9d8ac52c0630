"""The training images and the evaluation images of a run."""

import argparse
import os
from os.path import samefile

from semantic_aug.data.dataset import ImageSet, cut_to_imbalance, hold_out, load_data
from semantic_aug.labels import same_names

from .duplicates import without_duplicates
from .protocol import COMMON, check_setting

SPLITS = ("validation", "test")
HELD_OUT = 0.1  # fraction of the training images that is held out if there are no validation images
DATA_SEED = 0  # decides which images are held out


def load(options: argparse.Namespace) -> tuple[ImageSet, ImageSet]:
    """Load the training images and the evaluation images. Raises ValueError if either lacks a class."""
    settings = COMMON | dict(options.set)
    channels, size = (check_setting(name, settings[name]) for name in ("channels", "size"))

    def images(spec: str) -> ImageSet:
        return load_data(spec, channels, size, cache=options.cache)

    data, held_out = images(options.train), getattr(options, options.split)
    if held_out is not None:
        measured = images(held_out)
        if same_source(options.validation, options.test):  # each split gets half
            measured = dict(zip(SPLITS, hold_out(measured, 0.5, DATA_SEED), strict=True))[options.split]
    elif options.split == "validation":
        # Before the cut, so that the rare classes are evaluated on as many images as possible.
        data, measured = hold_out(data, HELD_OUT, DATA_SEED)
    else:
        raise ValueError("--split test needs test images; pass --test")
    if options.dedup == "held-out":  # before the cut, because a checkpoint may have seen more of the training images
        measured = without_duplicates(measured, [data])
    if options.imbalance is not None:
        data = cut_to_imbalance(data, options.imbalance)
    if options.dedup == "train":  # compare with both splits if both are given, so that both train on the same images
        others = [images(spec) for spec in (options.validation, options.test) if spec is not None]
        data = without_duplicates(data, others if held_out is not None else [*others, measured])
    measured = match_classes(data, measured, options.split)
    for name, part in (("train", data), (options.split, measured)):
        if 0 in part.counts():
            raise ValueError(f"{name} lacks images of a class: the classes {part.classes} have {part.counts()} images")
    return data, measured


def same_source(a: str | None, b: str | None) -> bool:
    """Whether two specifications are equal or refer to the same directory."""
    return a is not None and b is not None and (a == b or (os.path.isdir(a) and os.path.isdir(b) and samefile(a, b)))


def match_classes(data: ImageSet, other: ImageSet, name: str) -> ImageSet:
    """Renumber the labels of ``other`` like those of ``data``. Raises ValueError if the classes differ."""
    if not same_names(other.classes, data.classes):
        raise ValueError(f"train has the classes {data.classes}, {name} has {other.classes}")
    return other.with_classes(data.classes)
