"""Full-batch training on real images settles at the edge of its optimizer (Cohen et al. 2021 and 2022)."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from sharpness_phases import HalfMeanSquaredError, Lanczos, SharpnessCallback
from sharpness_phases.data.loading import load_image_set
from sharpness_phases.data.preprocessing import one_hot, standardize

EVERY, STAY, MOST = 10, 100, 2000  # steps


def images():
    """512 images of clothes, 14 x 14, and their classes."""
    found = load_image_set("fashion_mnist_subset")
    x = standardize(found.train_images[:512]).reshape(512, 14, 2, 14, 2).mean(axis=(2, 4))
    return x.reshape(512, -1).astype("float32"), one_hot(found.train_labels[:512], 10)


def network():
    """Small weights, from which the sharpness grows far."""

    def dense(units, seed, activation=None):
        start = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform", seed=seed)
        return keras.layers.Dense(units, activation, kernel_initializer=start)

    hidden = [dense(48, seed, "tanh") for seed in range(3)]
    return keras.Sequential([keras.Input((196,)), *hidden, dense(10, 9)])


class Stays(keras.callbacks.Callback):
    """Ends training when the sharpness has stayed at its edge for `STAY` steps.

    That is: it has risen beyond the edge and been thrown back, as what only passes it is not; since then it is within
    15% of the edge at every measurement, and within 5% on average.
    """

    def __init__(self, sharpness):
        super().__init__()
        self.sharpness, self.mean = sharpness, float("nan")

    def on_train_batch_end(self, batch, logs=None):
        ratio = np.array([at.sharpness / at.threshold for at in self.sharpness.history])
        beyond, falling = ratio[:-1] >= 1, np.diff(ratio) < 0
        thrown_back = np.flatnonzero(beyond & falling & (np.arange(len(falling)) > 0))
        begun = thrown_back[0] + 1 if len(thrown_back) else len(ratio)
        last = ratio[max(begun, len(ratio) - STAY // EVERY - 1) :]
        if len(last) > STAY // EVERY and np.abs(last - 1).max() < 0.15 and abs(last.mean() - 1) < 0.05:
            self.mean, self.model.stop_training = last.mean(), True


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optimizer", "edge"),
    [
        (keras.optimizers.SGD(0.8), 2 / 0.8),
        (keras.optimizers.SGD(1.0, momentum=0.9), 3.8 / 1.0),
        (keras.optimizers.SGD(0.5, momentum=0.9, nesterov=True), 3.8 / 2.8 / 0.5),
        (keras.optimizers.Adam(0.01), 38 / 0.01),
    ],
    ids=["SGD", "heavy ball", "Nesterov", "Adam"],
)
def test_full_batch_training_stays_at_the_edge_of_its_optimizer(optimizer, edge, figure):
    x, y = images()
    model = network()
    model.compile(optimizer, HalfMeanSquaredError(), jit_compile=False)
    callback = SharpnessCallback((x, y), every=EVERY, unit="steps", solver=Lanczos(1e-2))
    stays = Stays(callback)
    steps = tf.data.Dataset.from_tensors((x, y)).repeat(MOST)
    model.fit(steps, epochs=1, shuffle=False, verbose=0, callbacks=[callback, stays])
    assert callback.history[-1].threshold == pytest.approx(edge, rel=1e-6)
    name, steps = type(optimizer).__name__, callback.history[-1].step
    figure(f"{name}, edge {edge:.4g}: {stays.mean:.3f} of its edge after {steps} steps")
    assert stays.mean == pytest.approx(1, abs=0.05)
