"""The image sets that a config may name, with what is known of them without loading them."""

from __future__ import annotations

from typing import NamedTuple


class ImageSetInfo(NamedTuple):
    """Size of an image set.

    Attributes:
        train: Number of training images.
        test: Number of test images.
        shape: Shape of one image, (height, width, channels); (1,) for the single point.
        classes: Number of classes.
    """

    train: int
    test: int
    shape: tuple[int, ...]
    classes: int


EMBEDDED = "fashion_mnist_subset"
"""The image set inside the package."""

ONE_POINT = "one_point"
"""The single example (x, y) = (1, 0) of the uv model."""

IMAGE_SETS: dict[str, ImageSetInfo] = {
    ONE_POINT: ImageSetInfo(1, 0, (1,), 1),
    EMBEDDED: ImageSetInfo(4096, 1024, (28, 28, 1), 10),
    "mnist": ImageSetInfo(60_000, 10_000, (28, 28, 1), 10),
    "fashion_mnist": ImageSetInfo(60_000, 10_000, (28, 28, 1), 10),
    "cifar10": ImageSetInfo(50_000, 10_000, (32, 32, 3), 10),
    "cifar100": ImageSetInfo(50_000, 10_000, (32, 32, 3), 100),
}
