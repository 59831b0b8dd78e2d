"""The tasks of the advice benchmark: small networks of every common kind, on real data, with common optimizers."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Literal, NamedTuple, TypeAlias

import keras
import numpy as np
from keras import layers

from sharpness_phases.data.catalogue import SHAKESPEARE, SHAKESPEARE_ALPHABET, DataSize
from sharpness_phases.data.loading import load_image_set
from sharpness_phases.data.preprocessing import balanced_subset, one_hot, standardize
from sharpness_phases.data.tokens import load_tokens
from sharpness_phases.errors import MachineError

Arrays: TypeAlias = tuple[np.ndarray, np.ndarray]
"""Inputs (N, ...) and targets (N, ...)."""

Build: TypeAlias = Callable[[], keras.Model]
"""A network, with the initial weights that Keras' global seed gives."""

Part: TypeAlias = Literal["tuned", "reported"]
"""Tasks that the rules of the advice were chosen on, and those that only its report has seen."""

IMAGES = 8192
"""Training images of a task, in classes of equal size."""

CONTEXT = 32
"""Characters of the plays that one example holds."""

MASK = len(SHAKESPEARE_ALPHABET)
"""The token that stands for a hidden character."""

VOCABULARY = MASK + 1
"""Number of tokens."""


class Task(NamedTuple):
    """A network to train.

    Attributes:
        name: Network, data and optimizer.
        part: Which half of the benchmark it belongs to.
        build: The network.
        data: Its data set, by name.
        loss: "crossentropy" or "mse".
        optimizer: One of `OPTIMIZERS`.
        steps: Optimizer steps of a training.
        batch_size: Examples of a step.
    """

    name: str
    part: Part
    build: Build
    data: str
    loss: str
    optimizer: str
    steps: int = 300
    batch_size: int = 64

    def arrays(self, data_dir: str | None = None) -> Arrays:
        """The training data.

        Args:
            data_dir: Folder of TensorFlow Datasets, where the data set is one of them.

        Returns:
            Inputs and targets.
        """
        return _DATA[self.data](data_dir)

    def compiled(self, seed: int, learning_rate: float | None = None) -> keras.Model:
        """The network at its initialisation, compiled.

        Args:
            seed: Of the initial weights.
            learning_rate: None for Keras' default.

        Returns:
            The model.
        """
        keras.utils.set_random_seed(seed)
        model = self.build()
        given = {} if learning_rate is None else {"learning_rate": learning_rate}
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True) if self.loss == "crossentropy" else "mse"
        model.compile(OPTIMIZERS[self.optimizer](**given), loss, jit_compile=False)
        return model


OPTIMIZERS: dict[str, Callable[..., keras.optimizers.Optimizer]] = {
    "sgd": keras.optimizers.SGD,
    "momentum": lambda **given: keras.optimizers.SGD(momentum=0.9, **given),
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
}
"""Optimizers by name, with Keras' defaults but for what the name says."""


def mlp(shape: tuple[int, ...], outputs: int, width: int = 128, depth: int = 3, activation: str = "relu") -> Build:
    """A fully connected network of `depth` layers of weights."""

    def build() -> keras.Model:
        hidden = [
            layers.Dense(
                width, activation, kernel_initializer="he_normal" if activation == "relu" else "glorot_uniform"
            )
            for _ in range(depth - 1)
        ]
        return keras.Sequential([keras.Input(shape), layers.Flatten(), *hidden, layers.Dense(outputs)])

    return build


def cnn(shape: tuple[int, ...], width: int = 16, batch_norm: bool = False) -> Build:
    """Three convolutions with pooling, and a dense layer."""

    def build() -> keras.Model:
        parts: list[keras.Layer] = [keras.Input(shape)]
        for channels in (width, 2 * width, 2 * width):
            parts.append(layers.Conv2D(channels, 3, padding="same", use_bias=not batch_norm))
            parts += [layers.BatchNormalization()] * batch_norm
            parts += [layers.ReLU(), layers.MaxPooling2D()]
        return keras.Sequential([*parts, layers.Flatten(), layers.Dense(10)])

    return build


def resnet(shape: tuple[int, ...], width: int = 8) -> Build:
    """Three residual blocks with batch normalisation, of 1, 2 and 4 times the width."""

    def normal_conv(x: keras.KerasTensor, channels: int, stride: int = 1) -> keras.KerasTensor:
        return layers.BatchNormalization()(layers.Conv2D(channels, 3, stride, padding="same", use_bias=False)(x))

    def build() -> keras.Model:
        inputs = keras.Input(shape)
        x = layers.ReLU()(normal_conv(inputs, width, 2))
        for channels, stride in ((width, 1), (2 * width, 2), (4 * width, 2)):
            shortcut = x if stride == 1 else layers.Conv2D(channels, 1, stride, use_bias=False)(x)
            x = normal_conv(layers.ReLU()(normal_conv(x, channels, stride)), channels)
            x = layers.ReLU()(layers.Add()([x, shortcut]))
        return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))

    return build


class Positions(layers.Layer):
    """Adds a trained vector for every place of a sequence."""

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Make the vectors, for sequences of this length."""
        self.table = self.add_weight(shape=shape[1:], initializer=keras.initializers.RandomNormal(stddev=0.02))

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """x, shape (B, T, width), with the vectors added."""
        return x + self.table


def _transformer(x: keras.KerasTensor, blocks: int, width: int, causal: bool) -> keras.KerasTensor:
    """Pre-norm blocks with two heads."""
    x = Positions()(x)
    for _ in range(blocks):
        inner = layers.LayerNormalization()(x)
        x = x + layers.MultiHeadAttention(2, width // 2)(inner, inner, use_causal_mask=causal)
        inner = layers.Dense(4 * width, "gelu")(layers.LayerNormalization()(x))
        x = x + layers.Dense(width)(inner)
    return layers.LayerNormalization()(x)


def vit(shape: tuple[int, ...], patch: int, width: int = 32, blocks: int = 2) -> Build:
    """A vision transformer, its outputs averaged over the patches."""

    def build() -> keras.Model:
        inputs = keras.Input(shape)
        patches = layers.Reshape((-1, width))(layers.Conv2D(width, patch, patch)(inputs))
        x = _transformer(patches, blocks, width, causal=False)
        return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling1D()(x)))

    return build


def language_model(causal: bool, width: int = 48, blocks: int = 2) -> Build:
    """A transformer over characters: a small GPT if causal, else a small BERT."""

    def build() -> keras.Model:
        inputs = keras.Input((CONTEXT,), dtype="int32")
        x = _transformer(layers.Embedding(VOCABULARY, width)(inputs), blocks, width, causal)
        return keras.Model(inputs, layers.Dense(VOCABULARY)(x))

    return build


def lstm_of_rows(shape: tuple[int, ...], width: int = 48) -> Build:
    """An LSTM that reads an image row by row."""

    def build() -> keras.Model:
        rows = layers.Reshape((shape[0], shape[1] * shape[2]))
        return keras.Sequential([keras.Input(shape), rows, layers.LSTM(width), layers.Dense(10)])

    return build


def lstm_of_text(width: int = 48) -> Build:
    """An LSTM that predicts the next character."""

    def build() -> keras.Model:
        parts = [
            layers.Embedding(VOCABULARY, width),
            layers.LSTM(width, return_sequences=True),
            layers.Dense(VOCABULARY),
        ]
        return keras.Sequential([keras.Input((CONTEXT,), dtype="int32"), *parts])

    return build


@cache
def _images(name: str, data_dir: str | None) -> Arrays:
    found = load_image_set(name, data_dir)
    chosen = balanced_subset(found.train_labels, min(IMAGES, len(found.train_labels)), seed=0)
    return standardize(found.train_images[chosen]), found.train_labels[chosen].astype(np.int32).reshape(-1)


def _image_targets(name: str, data_dir: str | None) -> Arrays:
    x, y = _images(name, data_dir)
    return x, one_hot(y, 10).astype(np.float32)


def _text() -> Arrays:
    """Stretches of the plays, and the next character of each."""
    size = DataSize(SHAKESPEARE, context_length=CONTEXT)
    return load_tokens(size)


def _hidden_characters() -> Arrays:
    """The text with 15% of its characters hidden; targets are all (Devlin et al. 2019 count the hidden only)."""
    whole, _ = _text()
    hidden = np.random.default_rng(0).random(whole.shape) < 0.15
    return np.where(hidden, MASK, whole), whole


def _table(name: str) -> Arrays:
    """A data set of scikit-learn, standardised; targets of a regression, too."""
    try:
        from sklearn import datasets
    except ImportError:
        raise MachineError("this benchmark takes tables from scikit-learn: pip install scikit-learn") from None
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    x = (x - x.mean(0)) / (x.std(0) + 1e-6)
    if name == "diabetes":
        return x.astype(np.float32), ((y - y.mean()) / y.std()).astype(np.float32)[:, None]
    return x.astype(np.float32), y.astype(np.int32)


_DATA: dict[str, Callable[[str | None], Arrays]] = {
    "fashion_mnist": lambda folder: _images("fashion_mnist_subset", folder),
    "fashion_mnist as numbers": lambda folder: _image_targets("fashion_mnist_subset", folder),
    "cifar10": lambda folder: _images("cifar10", folder),
    "cifar10 as numbers": lambda folder: _image_targets("cifar10", folder),
    "next characters": lambda _: _text(),
    "hidden characters": lambda _: _hidden_characters(),
    "digits": lambda _: _table("digits"),
    "breast_cancer": lambda _: _table("breast_cancer"),
    "wine": lambda _: _table("wine"),
    "diabetes": lambda _: _table("diabetes"),
}

_F, _C = (28, 28, 1), (32, 32, 3)

TASKS = (
    Task("mlp fashion sgd", "tuned", mlp(_F, 10), "fashion_mnist", "crossentropy", "sgd"),
    Task("mlp fashion adam", "reported", mlp(_F, 10), "fashion_mnist", "crossentropy", "adam"),
    Task("tanh mlp cifar momentum", "tuned", mlp(_C, 10, 256, 4, "tanh"), "cifar10 as numbers", "mse", "momentum"),
    Task("mlp cifar sgd", "reported", mlp(_C, 10, 256, 4), "cifar10", "crossentropy", "sgd"),
    Task("cnn fashion adam", "tuned", cnn(_F, 8), "fashion_mnist", "crossentropy", "adam"),
    Task("cnn fashion momentum", "reported", cnn(_F, 8), "fashion_mnist", "crossentropy", "momentum"),
    Task("cnn bn fashion sgd", "tuned", cnn(_F, 8, True), "fashion_mnist", "crossentropy", "sgd"),
    Task("cnn bn cifar adamw", "reported", cnn(_C, 8, True), "cifar10", "crossentropy", "adamw"),
    Task("deep fashion adamw", "tuned", mlp(_F, 10, 16, 12), "fashion_mnist", "crossentropy", "adamw"),
    Task("deep fashion sgd", "reported", mlp(_F, 10, 16, 12), "fashion_mnist", "crossentropy", "sgd"),
    Task("resnet cifar momentum", "tuned", resnet(_C), "cifar10", "crossentropy", "momentum"),
    Task("resnet cifar adam", "reported", resnet(_C), "cifar10", "crossentropy", "adam"),
    Task("vit cifar adamw", "tuned", vit(_C, 8), "cifar10", "crossentropy", "adamw"),
    Task("vit fashion momentum", "reported", vit(_F, 7), "fashion_mnist", "crossentropy", "momentum"),
    Task(
        "gpt text momentum", "tuned", language_model(True), "next characters", "crossentropy", "momentum", batch_size=32
    ),
    Task("gpt text adamw", "reported", language_model(True), "next characters", "crossentropy", "adamw", batch_size=32),
    Task("bert text adam", "tuned", language_model(False), "hidden characters", "crossentropy", "adam", batch_size=32),
    Task("bert text sgd", "reported", language_model(False), "hidden characters", "crossentropy", "sgd", batch_size=32),
    Task("lstm text adam", "tuned", lstm_of_text(), "next characters", "crossentropy", "adam", batch_size=32),
    Task("lstm fashion momentum", "reported", lstm_of_rows(_F), "fashion_mnist", "crossentropy", "momentum"),
    Task("mlp digits sgd", "tuned", mlp((64,), 10, 64), "digits", "crossentropy", "sgd", 1000, 32),
    Task("mlp breast cancer adam", "reported", mlp((30,), 2, 64), "breast_cancer", "crossentropy", "adam", 1000, 32),
    Task("mlp diabetes momentum", "tuned", mlp((10,), 1, 64, 3, "tanh"), "diabetes", "mse", "momentum", 1000, 32),
    Task("mlp wine adamw", "reported", mlp((13,), 3, 64), "wine", "crossentropy", "adamw", 1000, 32),
)
"""Every kind of network stands in both halves, with another optimizer or other data."""
