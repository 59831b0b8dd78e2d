"""The data sets that a config may name, with what is known of them without loading them. A further one is an entry."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

Kind: TypeAlias = Literal["images", "vectors"]
"""What one example is: an image (height, width, channels), or a vector (length,)."""


class DataSetInfo(NamedTuple):
    """What is known of a data set.

    Attributes:
        kind: What its examples are.
        train: Number of training examples.
        test: Number of test examples.
        shape: Shape of one example.
        classes: Number of classes.
        host: Where TensorFlow Datasets downloads it from; "" for a set that needs no download.
    """

    kind: Kind
    train: int
    test: int
    shape: tuple[int, ...]
    classes: int
    host: str = ""


EMBEDDED = "fashion_mnist_subset"
"""The image set inside the package."""

ONE_POINT = "one_point"
"""The single example (x, y) = (1, 0) of the uv model."""

DATA_SETS: dict[str, DataSetInfo] = {
    ONE_POINT: DataSetInfo("vectors", 1, 0, (1,), 1),
    EMBEDDED: DataSetInfo("images", 4096, 1024, (28, 28, 1), 10),
    "mnist": DataSetInfo("images", 60_000, 10_000, (28, 28, 1), 10, "storage.googleapis.com"),
    "fashion_mnist": DataSetInfo(
        "images", 60_000, 10_000, (28, 28, 1), 10, "fashion-mnist.s3-website.eu-central-1.amazonaws.com"
    ),
    "cifar10": DataSetInfo("images", 50_000, 10_000, (32, 32, 3), 10, "www.cs.toronto.edu"),
    "cifar100": DataSetInfo("images", 50_000, 10_000, (32, 32, 3), 100, "www.cs.toronto.edu"),
}
"""The data sets by name. Images come from TensorFlow Datasets under the same name, but for the embedded set."""


def names_of(kind: Kind) -> list[str]:
    """Names of the sets of one kind.

    Args:
        kind: Such as "images".

    Returns:
        The names, in the order of the catalogue.

    Example:
        >>> names_of("vectors")
        ['one_point']
    """
    return [name for name, info in DATA_SETS.items() if info.kind == kind]
