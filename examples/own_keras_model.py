"""The sharpness of a Keras model of your own while it trains: toward the edge of stability, 2 / eta.

python examples/own_keras_model.py --learning-rate 0.05 --to sharpness.png
"""

import argparse

import keras
import matplotlib.pyplot as plt
import pandas as pd

from sharpness_phases import SharpnessCallback
from sharpness_phases.data.preprocessing import prepare


def build_model() -> keras.Model:
    """Any Keras model with one input and one output will do, with normalisation layers, too."""
    inputs = keras.Input((28, 28, 1))
    x = keras.layers.Conv2D(8, 5, strides=2, activation="relu")(inputs)
    x = keras.layers.Dense(64, activation="relu")(keras.layers.Flatten()(x))
    return keras.Model(inputs, keras.layers.Dense(10)(x))


def main() -> None:
    """Train, print a row for every epoch, draw."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--learning-rate", type=float, default=0.05)
    options.add_argument("--epochs", type=int, default=24)
    options.add_argument("--to", default="sharpness.png", help="picture to write")
    given = options.parse_args()

    # Your own arrays go here: inputs (N, ...) and targets. These are Fashion-MNIST images, standardised one by one.
    data = prepare(train_examples=1024)

    keras.utils.set_random_seed(0)
    model = build_model()
    model.compile(keras.optimizers.SGD(given.learning_rate), keras.losses.CategoricalCrossentropy(from_logits=True))

    # Measured on the same examples at every step, so that values can be compared; a part of many examples will do.
    sharpness = SharpnessCallback(measurement=(data.x, data.y), every=4, unit="steps")
    model.fit(data.x, data.y, batch_size=128, epochs=given.epochs, verbose=0, callbacks=[sharpness])

    # A row for each measurement; what only optimizers with a preconditioner have is empty here.
    table = pd.DataFrame(sharpness.history).dropna(axis="columns", how="all")
    print(table.iloc[:: max(1, len(table) // 10)].to_string(index=False, float_format="{:.4g}".format))

    figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    axis.plot(table["step"], table["sharpness"], label="sharpness")
    axis.plot(table["step"], table["threshold"], color="grey", linestyle="--", label=r"edge of stability, $2/\eta$")
    axis.set(xlabel="step", ylabel="top eigenvalue of the loss Hessian", ylim=(0, None))
    axis.legend(frameon=False)
    figure.savefig(given.to, dpi=150)
    print(f"Picture: {given.to}")


if __name__ == "__main__":
    main()
