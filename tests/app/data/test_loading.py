import errno
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest

from sharpness_phases.data.catalogue import DATA_SETS, DataSize, described, in_words
from sharpness_phases.data.loading import load_image_set
from sharpness_phases.errors import MachineError, UserError


@pytest.mark.parametrize(
    ("size", "examples", "words"),
    [
        (DataSize("fashion_mnist_subset"), 4096, "Fashion-MNIST, 4096 images"),
        (DataSize("cifar10"), 50_000, "CIFAR-10, 50000 images"),
        (DataSize("modular_addition", modulus=5), 1, "addition modulo 5, 1 sequence"),
        (DataSize("text", path="/home/somebody/novel.txt"), 0, "novel.txt"),
        (DataSize("one_point"), 1, "one point"),
    ],
)
def test_data_sets_are_called_as_people_write_them(size, examples, words):
    assert in_words(described(size), examples) == words


def test_the_embedded_set_has_the_size_that_its_description_says():
    images = load_image_set("fashion_mnist_subset")
    assert images.train_images.shape == (4096, 28, 28, 1)
    assert images.test_images.shape == (1024, 28, 28, 1)
    assert images.train_images.dtype == np.uint8
    assert np.bincount(images.train_labels).tolist() == pytest.approx([409.6] * 10, abs=1)
    assert images.classes == 10


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fashion_mnist", "cifar10"])
def test_a_prepared_set_of_tensorflow_datasets_is_read(name, prepared_data):
    images, info = load_image_set(name, prepared_data), DATA_SETS[name]
    assert images.train_images.shape == (info.train, *info.shape)
    assert images.test_images.shape == (info.test, *info.shape)
    assert np.bincount(images.train_labels).tolist() == [info.train // info.classes] * info.classes
    assert images.train_images[:100].std() > 10


@pytest.mark.slow
def test_the_order_of_a_set_is_always_the_same(prepared_data):
    first, again = (load_image_set("fashion_mnist", prepared_data) for _ in range(2))
    np.testing.assert_array_equal(first.train_images[:500], again.train_images[:500])


def data_sets_of(builder):
    """The folder of sets that a builder writes to."""
    return Path(builder.data_dir).parents[1]


@pytest.mark.parametrize("name", ["mnist", "cifar100"])
def test_a_set_that_is_absent_and_cannot_be_downloaded_gives_one_clear_error(name, tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    def no_network(builder):
        (data_sets_of(builder) / "downloads").mkdir()
        raise ConnectionError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", lambda host, port: [])
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", no_network)
    with pytest.raises(UserError, match=rf"data.dataset: '{name}' is not in {tmp_path}.*no network.*data.data_dir"):
        load_image_set(name, str(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["mnist", "cifar100"])
def test_sets_without_a_prepared_copy_are_read_by_the_same_code(name, monkeypatch, tmp_path):
    import tensorflow as tf
    import tensorflow_datasets as tfds

    info, rng = DATA_SETS[name], np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (12, *info.shape), np.uint8), rng.integers(0, info.classes, 12)

    class Prepared:
        data_dir = tmp_path

        def as_dataset(self, split, as_supervised, shuffle_files, batch_size):
            assert as_supervised
            assert not shuffle_files
            return tf.data.Dataset.from_tensors((images, labels)).get_single_element()

    monkeypatch.setattr(tfds, "builder", lambda *args, **kwargs: Prepared())
    loaded = load_image_set(name, str(tmp_path))
    np.testing.assert_array_equal(loaded.train_images, images)
    np.testing.assert_array_equal(loaded.test_labels, labels)
    assert loaded.classes == info.classes


def contents(folder):
    return {path.relative_to(folder) for path in folder.rglob("*")}


def test_a_failed_download_touches_no_set_that_another_process_puts_there_meanwhile(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    def fails(builder):
        for place in ("cifar10/3.0.2", "downloads/extracted"):
            (tmp_path / place).mkdir(parents=True)
            (tmp_path / place / "of_another").touch()
        (data_sets_of(builder) / "downloads").mkdir()
        raise ConnectionError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", lambda host, port: [])
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fails)
    for folder in (tmp_path, tmp_path / "new"):
        with pytest.raises(UserError, match="no network"):
            load_image_set("mnist", str(folder))
        assert (tmp_path / "cifar10" / "3.0.2" / "of_another").exists()
        assert (tmp_path / "downloads" / "extracted" / "of_another").exists()
        assert {path.name for path in tmp_path.iterdir()} == {"cifar10", "downloads"}
        for place in ("cifar10", "downloads"):
            shutil.rmtree(tmp_path / place)


@pytest.mark.parametrize("faster", [False, True], ids=["alone", "another was faster"])
def test_a_download_takes_its_place_when_it_is_whole_or_leaves_that_of_another(faster, tmp_path, monkeypatch):
    import tensorflow as tf
    import tensorflow_datasets as tfds

    version = tfds.builder("mnist", data_dir=tmp_path).version
    place = tmp_path / "mnist" / str(version)

    def prepares(builder):
        assert not place.exists()
        Path(builder.data_dir).mkdir(parents=True)
        (Path(builder.data_dir) / "mine").touch()
        (data_sets_of(builder) / "downloads").mkdir()
        if faster:
            place.mkdir(parents=True)
            (place / "of_another").touch()

    def three_images(builder, split, as_supervised, shuffle_files, batch_size):
        images = np.zeros((3, 28, 28, 1), np.uint8), np.zeros(3, np.int64)
        return tf.data.Dataset.from_tensors(images).get_single_element()

    monkeypatch.setattr(socket, "getaddrinfo", lambda host, port: [])
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", prepares)
    monkeypatch.setattr(tfds.core.DatasetBuilder, "as_dataset", three_images)
    assert len(load_image_set("mnist", str(tmp_path)).train_images) == 3
    assert [path.name for path in place.iterdir()] == ["of_another" if faster else "mine"]
    assert contents(tmp_path) == {
        Path("mnist"),
        Path("mnist") / str(version),
        *(p.relative_to(tmp_path) for p in place.iterdir()),
    }


def test_without_a_network_the_error_comes_before_the_download_is_tried(tmp_path, monkeypatch):
    def unknown_host(host, port):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown_host)
    folder = tmp_path / "new"
    with pytest.raises(UserError, match="gaierror: .*Name or service not known"):
        load_image_set("mnist", str(folder))
    assert not folder.exists()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left.*data.data_dir"),
        (MemoryError(), "Out of memory"),
    ],
)
def test_lack_of_room_or_memory_is_the_machines_and_not_the_users(error, message, tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    def fails(builder):
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", lambda host, port: [])
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fails)
    with pytest.raises(MachineError, match=message):
        load_image_set("mnist", str(tmp_path))


def test_an_unknown_set_is_refused_with_the_known_ones():
    with pytest.raises(UserError, match=r"'imagenet'.*cifar10"):
        load_image_set("imagenet")
