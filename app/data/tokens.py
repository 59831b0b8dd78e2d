"""Sequences of tokens with their targets: text, and exact tasks."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import numpy as np

from sharpness_phases.data.catalogue import (
    BYTES,
    MODULAR_ADDITION,
    SHAKESPEARE,
    SHAKESPEARE_ALPHABET,
    DataSize,
    windows_in,
)
from sharpness_phases.errors import UserError

_MOST_BYTES = 2**30
"""Of a text file; chosen so: its tokens and targets take eight times as much memory."""


def load_tokens(size: DataSize) -> tuple[np.ndarray, np.ndarray]:
    """Load a set of sequences, in a fixed order.

    A text file that is absent, no UTF-8, too large, or too short for one example ends with `UserError`.

    Args:
        size: The set, of kind "tokens".

    Returns:
        Tokens (N, length), and as targets the next token of each (N, length), or the class of each example (N,); int32.
    """
    if size.dataset == MODULAR_ADDITION:
        return modular_addition(size.modulus)
    if size.dataset == SHAKESPEARE:
        plays = (files("sharpness_phases.data.embedded") / f"{SHAKESPEARE}.txt").read_bytes()
        return next_tokens(plays, size.context_length, SHAKESPEARE_ALPHABET)
    return next_tokens(_read_text(size.path), size.context_length)


def next_tokens(text: bytes, length: int, alphabet: bytes = bytes(range(BYTES))) -> tuple[np.ndarray, np.ndarray]:
    """Cut a text into examples that do not overlap; the target of a token is the one behind it.

    Args:
        text: All of it; what does not fill an example at its end is left out.
        length: Tokens of an example.
        alphabet: The bytes that occur, in the order of their tokens 0, 1, ...; all bytes by default.

    Returns:
        Tokens and targets, int32, both of shape (N, length).

    Example:
        >>> next_tokens(b"abcde", 2, b"abcde")[1]
        array([[1, 2],
               [3, 4]], dtype=int32)
    """
    places = np.zeros(BYTES, np.int32)
    places[np.frombuffer(alphabet, np.uint8)] = np.arange(len(alphabet))
    tokens = places[np.frombuffer(text, np.uint8)]
    end = windows_in(len(tokens), length) * length
    return tokens[:end].reshape(-1, length), tokens[1 : end + 1].reshape(-1, length)


def modular_addition(modulus: int) -> tuple[np.ndarray, np.ndarray]:
    """All of a + b modulo p (Power et al. 2022, App. A.1.1).

    Args:
        modulus: p; tokens 0 to p-1 are numbers, and p is the equals sign.

    Returns:
        Tokens (a, b, =) of shape (p^2, 3), and classes (a + b) mod p of shape (p^2,); int32.

    Example:
        >>> modular_addition(2)[0].tolist(), modular_addition(2)[1].tolist()
        ([[0, 0, 2], [0, 1, 2], [1, 0, 2], [1, 1, 2]], [0, 1, 1, 0])
    """
    a, b = (part.ravel() for part in np.indices((modulus, modulus), np.int32))
    return np.stack([a, b, np.full_like(a, modulus)], axis=1), (a + b) % modulus


def text_digest(path: str) -> str:
    """A hash of a file's content.

    Args:
        path: The file.

    Returns:
        64 hexadecimal digits; "" if there is no such file.
    """
    try:
        file = Path(path).expanduser()
        status = file.stat()
        return _digest(file.absolute(), status.st_mtime_ns, status.st_size)
    except (OSError, ValueError, RuntimeError):
        return ""


@lru_cache(maxsize=8)
def _digest(path: Path, time: int, size: int) -> str:
    """The hash of a file as it was at that time, which is asked for with every run."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _read_text(path: str | None) -> bytes:
    if path is None:
        raise UserError("data.path: the file of the text is needed")
    try:
        file = Path(path).expanduser()
        if file.stat().st_size > _MOST_BYTES:
            raise UserError(f"data.path: {path} has {file.stat().st_size} bytes; at most {_MOST_BYTES} are taken")
        text = file.read_bytes()
        text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"data.path: {path} is no UTF-8 text: {error.reason} at byte {error.start}") from None
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"data.path: {path} cannot be read: {reason}") from None
    return text
