"""The data sets that a config may name, with what is known of them without loading them. A further one is an entry."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

Kind: TypeAlias = Literal["images", "vectors", "tokens"]
"""What one example is: an image (height, width, channels), a vector (length,), or a sequence of integers (length,)."""


class DataSetInfo(NamedTuple):
    """What is known of a data set.

    Attributes:
        title: Its name as people write it.
        kind: What its examples are.
        train: Number of training examples; 0 for a file that is not there.
        test: Number of test examples.
        shape: Shape of one example.
        classes: Number of classes.
        host: Where TensorFlow Datasets downloads it from; "" for a set that needs no download.
        vocabulary: Number of different tokens; 0 for other kinds.
        everywhere: Whether each token of an example has a target, the next one, instead of the example as a whole.
    """

    title: str
    kind: Kind
    train: int
    test: int
    shape: tuple[int, ...]
    classes: int
    host: str = ""
    vocabulary: int = 0
    everywhere: bool = False

    @property
    def has_labels(self) -> bool:
        """Whether its targets are integers, as those of tokens are, instead of one-hot vectors."""
        return self.kind == "tokens"

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of a network's outputs for one example: (classes,), or (length, classes) for a target everywhere."""
        return (*self.shape, self.classes) if self.everywhere else (self.classes,)


EMBEDDED = "fashion_mnist_subset"
"""The image set inside the package."""

ONE_POINT = "one_point"
"""The single example (x, y) = (1, 0) of the uv model."""

SHAKESPEARE = "shakespeare"
"""Plays inside the package; tokens are its different characters."""

TEXT = "text"
"""A text file of the user's, UTF-8; tokens are its bytes."""

MODULAR_ADDITION = "modular_addition"
"""All pairs (a, b) with a + b modulo p as the class."""

CONTEXT_LENGTH, MODULUS = 64, 97
"""Tokens of an example of text by default, chosen so; and p by default, that of Power et al. 2022."""

BYTES = 256
"""Different bytes."""

SHAKESPEARE_CHARACTERS = 999_691
"""Characters of the embedded plays."""

SHAKESPEARE_ALPHABET = b"\n !'(),-.:;?ABCDEFGHIJKLMNOPQRSTUVWXYZ[]abcdefghijklmnopqrstuvwxyz"
"""Its different characters; a token is a character's place here."""


class DataSize(NamedTuple):
    """What is said of a data set that decides how large it is and what shape its examples have.

    Attributes:
        dataset: Its name.
        context_length: Tokens of an example of text.
        modulus: p of modular addition.
        path: The file of `text`.
    """

    dataset: str
    context_length: int = CONTEXT_LENGTH
    modulus: int = MODULUS
    path: str | None = None


def windows_in(tokens: int, length: int) -> int:
    """Number of examples of some length that a text has: they do not overlap, and the last has a token behind it."""
    return max(0, (tokens - 1) // length)


def _text(title: str, tokens: int, length: int, vocabulary: int) -> DataSetInfo:
    train = windows_in(tokens, length)
    return DataSetInfo(title, "tokens", train, 0, (length,), vocabulary, vocabulary=vocabulary, everywhere=True)


def described(size: DataSize) -> DataSetInfo:
    """What is known of a data set of some size, without loading it.

    Args:
        size: Its name, with what decides its size.

    Returns:
        Its description; of a `text`, the size of its file is looked up.

    Example:
        >>> described(DataSize("modular_addition", modulus=5)).train
        25
    """
    if size.dataset == MODULAR_ADDITION:
        p = size.modulus
        return DataSetInfo(f"addition modulo {p}", "tokens", p * p, 0, (3,), p, vocabulary=p + 1)
    if size.dataset == SHAKESPEARE:
        return _text("Shakespeare's plays", SHAKESPEARE_CHARACTERS, size.context_length, len(SHAKESPEARE_ALPHABET))
    if size.dataset == TEXT:
        return _text(_title_of(size.path), _bytes_in(size.path), size.context_length, BYTES)
    return DATA_SETS[size.dataset]


def _title_of(path: str | None) -> str:
    """What a text of the user's is called: by its file, without the folders."""
    return "text" if path is None else Path(path).name


def _bytes_in(path: str | None) -> int:
    """The size of a file; 0 where there is none, which loading it tells the user."""
    try:
        return 0 if path is None else Path(path).expanduser().stat().st_size
    except (OSError, ValueError, RuntimeError):  # also a name with a null byte, or of an unknown user's home
        return 0


DATA_SETS: dict[str, DataSetInfo] = {
    ONE_POINT: DataSetInfo("one point", "vectors", 1, 0, (1,), 1),
    EMBEDDED: DataSetInfo("Fashion-MNIST", "images", 4096, 1024, (28, 28, 1), 10),
    "mnist": DataSetInfo("MNIST", "images", 60_000, 10_000, (28, 28, 1), 10, "storage.googleapis.com"),
    "fashion_mnist": DataSetInfo(
        "Fashion-MNIST",
        "images",
        60_000,
        10_000,
        (28, 28, 1),
        10,
        "fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    ),
    "cifar10": DataSetInfo("CIFAR-10", "images", 50_000, 10_000, (32, 32, 3), 10, "www.cs.toronto.edu"),
    "cifar100": DataSetInfo("CIFAR-100", "images", 50_000, 10_000, (32, 32, 3), 100, "www.cs.toronto.edu"),
    **{name: described(DataSize(name)) for name in (SHAKESPEARE, TEXT, MODULAR_ADDITION)},
}
"""The data sets by name, those of tokens as they are by default. Images come from TensorFlow Datasets under the same
name, but for the embedded set."""


_COUNTED = {"images": "images", "vectors": "points", "tokens": "sequences"}
"""What examples of each kind are called where they are counted."""


def in_words(info: DataSetInfo, examples: int) -> str:
    """A data set as people write it, with the number of examples in use.

    Args:
        info: What is known of it.
        examples: Their number; 0 where it is not known.

    Returns:
        The text.

    Example:
        >>> in_words(DATA_SETS["cifar10"], 5000)
        'CIFAR-10, 5000 images'
    """
    if not examples or info.train == 1:
        return info.title
    counted = _COUNTED[info.kind]
    return f"{info.title}, {examples} {counted if examples > 1 else counted[:-1]}"


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
