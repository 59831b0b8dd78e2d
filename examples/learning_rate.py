"""Which learning rate for a model of your own? Ask its sharpness, then see whether the answer holds.

python examples/learning_rate.py --batch-size 64
"""

import argparse

import keras

from sharpness_phases import recommend_learning_rate
from sharpness_phases.data.preprocessing import prepare


def build_model() -> keras.Model:
    """Your model goes here, compiled with your loss and your optimizer."""
    keras.utils.set_random_seed(0)  # the same initial weights every time: a learning rate is found for them
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(128, activation="relu", kernel_initializer="he_normal"),
            keras.layers.Dense(128, activation="relu", kernel_initializer="he_normal"),
            keras.layers.Dense(10),
        ]
    )
    model.compile(keras.optimizers.SGD(), keras.losses.CategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


def main() -> None:
    """Recommend, then train at the recommended rate, at a tenth of it, and beyond the ceiling."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--batch-size", type=int, default=128)
    options.add_argument("--epochs", type=int, default=3)
    given = options.parse_args()

    # Your own arrays go here: inputs (N, ...) and targets. These are Fashion-MNIST images, standardised one by one.
    data = prepare()

    advice = recommend_learning_rate(build_model(), (data.x, data.y), batch_size=given.batch_size)
    print(advice)
    print(f"Picture: {advice.plot('outputs/learning_rate.png')}")

    rates = {"a tenth of it": advice.learning_rate / 10, "suggested": advice.learning_rate}
    if advice.ceiling < float("inf"):
        rates["twice the ceiling"] = 2 * advice.ceiling
    print(f"\n{'trained at':<18} {'rate':>8} {'loss':>8} {'accuracy':>9}   after {given.epochs} epochs")
    for name, rate in rates.items():
        model = build_model()
        model.optimizer.learning_rate = rate
        last = model.fit(data.x, data.y, batch_size=given.batch_size, epochs=given.epochs, verbose=0).history
        print(f"{name:<18} {rate:>8.3g} {last['loss'][-1]:>8.3g} {last['accuracy'][-1]:>9.1%}")


if __name__ == "__main__":
    main()
