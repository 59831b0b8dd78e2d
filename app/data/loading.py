"""Image sets by name: one inside the package, the others through TensorFlow Datasets."""

from __future__ import annotations

import errno
import logging
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from types import ModuleType
from typing import Protocol

import numpy as np

from sharpness_phases.data.catalogue import DATA_SETS, EMBEDDED, names_of
from sharpness_phases.errors import MachineError, UserError


@dataclass(frozen=True)
class ImageSet:
    """Images and labels.

    Attributes:
        name: Name of the set.
        train_images: uint8, shape (N, height, width, channels).
        train_labels: int64, shape (N,).
        test_images: uint8, shape (N', height, width, channels).
        test_labels: int64, shape (N',).
        classes: Number of classes.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    classes: int


def load_image_set(name: str, data_dir: str | None = None) -> ImageSet:
    """Load an image set, in a fixed order.

    Args:
        name: One of `sharpness_phases.data.catalogue.DATA_SETS` that holds images.
        data_dir: Folder of TensorFlow Datasets; its default folder if None. Not used for the embedded set.

    Returns:
        The images.

    Raises:
        UserError: If there is no such image set; or, from within, if it is absent and cannot be downloaded.
    """
    if name not in names_of("images"):
        raise UserError(f"data.dataset: unknown image set {name!r}; known: {', '.join(names_of('images'))}")
    if name == EMBEDDED:
        with as_file(files("sharpness_phases.data.embedded") / f"{EMBEDDED}.npz") as path, np.load(path) as arrays:
            parts = {key: arrays[key] for key in arrays.files}
    else:
        parts = _from_tensorflow_datasets(name, data_dir)
    return ImageSet(
        name=name,
        train_images=_with_channels(parts["train_images"]),
        train_labels=parts["train_labels"].astype(np.int64),
        test_images=_with_channels(parts["test_images"]),
        test_labels=parts["test_labels"].astype(np.int64),
        classes=DATA_SETS[name].classes,
    )


def _with_channels(images: np.ndarray) -> np.ndarray:
    return images if images.ndim == 4 else images[..., np.newaxis]


def _from_tensorflow_datasets(name: str, data_dir: str | None) -> dict[str, np.ndarray]:
    import tensorflow_datasets as tfds

    for logger in ("absl", "urllib3"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    tfds.disable_progress_bar()
    folder = Path(data_dir or tfds.core.constants.DATA_DIR).expanduser()
    try:
        builder = tfds.builder(name, data_dir=folder)
        if not Path(builder.data_dir).exists():
            _download(name, folder, lambda place: tfds.builder(name, data_dir=place))
            builder = tfds.builder(name, data_dir=folder)
        return _read_splits(tfds, builder)
    except MemoryError:
        raise MachineError(f"Out of memory while {name!r} was read from {folder}; take a machine with more.") from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise MachineError(f"{folder}: {error.strerror}; {name!r} needs room there, see data.data_dir") from None
        raise UserError(
            f"data.dataset: {name!r} is not in {folder} and could not be downloaded "
            f"({type(error).__name__}: {_first_line(error)}). Set data.data_dir to a folder that holds it, or "
            f'prepare it where there is a network: python -c "import tensorflow_datasets as tfds; '
            f"tfds.load('{name}', data_dir='{folder}')\""
        ) from error


class Builder(Protocol):
    """What TensorFlow Datasets knows of a set: the part of `tfds.core.DatasetBuilder` that is used here."""

    name: str
    data_dir: str | Path

    def download_and_prepare(self) -> None:
        """Download the set and write it to `data_dir`."""
        ...

    def as_dataset(self, *, split: str, as_supervised: bool, shuffle_files: bool, batch_size: int) -> object:
        """Pairs of all images and all labels of a split, for `batch_size=-1`."""
        ...


def _download(name: str, folder: Path, builder_in: Callable[[Path], Builder]) -> None:
    """Download and prepare a set.

    It is done in a folder of its own beside the others, and the set takes its place when it is whole: after a failure
    nothing is left, and nothing is touched that others have put there meanwhile.

    Args:
        name: The set.
        folder: Where sets are.
        builder_in: Gives the set's builder for another folder of sets.

    Raises:
        OSError: If there is no network, or the set cannot be written; other errors are those of the builder.
    """
    if not (os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy")):
        # Fails at once without a network; the download would retry for minutes.
        socket.getaddrinfo(DATA_SETS[name].host, 443)
    with _own_folder_in(folder) as own:
        builder = builder_in(own)
        with redirect_stdout(sys.stderr):
            builder.download_and_prepare()
        place = folder / Path(builder.data_dir).relative_to(own)
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            Path(builder.data_dir).rename(place)
        except OSError:
            if not place.exists():  # else another process was faster: its set is as good
                raise


@contextmanager
def _own_folder_in(folder: Path) -> Iterator[Path]:
    """A folder in another one, which is made if need be; the first is removed in the end, both if nothing is left."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=folder, ignore_cleanup_errors=True) as own:
            yield Path(own)
    finally:
        with suppress(OSError):  # something is in it: the set, or that of another process
            for path in made:
                path.rmdir()


def _read_splits(tfds: ModuleType, builder: Builder) -> dict[str, np.ndarray]:
    parts: dict[str, np.ndarray] = {}
    for split in ("train", "test"):
        dataset = builder.as_dataset(split=split, as_supervised=True, shuffle_files=False, batch_size=-1)
        images, labels = tfds.as_numpy(dataset)
        parts |= {f"{split}_images": images, f"{split}_labels": labels}
    return parts


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0][:200] if text else "no message"
