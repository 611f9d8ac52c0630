"""A digest of a data set, to notice when different images have the same name."""

import hashlib

from semantic_aug.data.dataset import ImageSet


def digest(data: ImageSet) -> str:
    """The digest of the pixels and the labels."""
    found = hashlib.sha256(data.images.contiguous().numpy().data)
    found.update(data.labels.numpy().data)
    return found.hexdigest()[:16]
