"""The models and data that a config, or names of a user's own code, stand for: compiled, to be advised on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from sharpness_phases.custom_code import load_custom
from sharpness_phases.errors import UserError

if TYPE_CHECKING:
    import keras

    from sharpness_phases.config.schema import ExperimentConfig
    from sharpness_phases.training.batches import Data


class Trained(NamedTuple):
    """What is to be trained.

    Attributes:
        name: What to call it.
        model: A compiled model.
        data: Its training data.
        batch_size: Examples in a batch.
    """

    name: str
    model: keras.Model
    data: Data
    batch_size: int


def networks_of(config: ExperimentConfig) -> Iterator[Trained]:
    """The networks of a config, one initialisation of each.

    Args:
        config: An experiment.

    Yields:
        Each network, compiled with the config's loss and optimizer.
    """
    from sharpness_phases.runs.spec import cells
    from sharpness_phases.sweep.simulator import Simulator

    simulator = Simulator(config)
    seen = set()
    for cell in cells(config):
        if (cell.depth, cell.width) in seen:
            continue
        seen.add((cell.depth, cell.width))
        model = simulator.network(cell)
        simulator.compile(model)
        data = (simulator.data.x, simulator.data.y)
        yield Trained(f"depth {cell.depth}, width {cell.width}", model, data, config.training.batch_size)


def own_model(location: str, data: str, batch_size: int) -> Trained:
    """A model and data of the user's own.

    Args:
        location: "package.module:attribute", a compiled Keras model or a function that returns one.
        data: Likewise, arrays (x, y) or a data set, or a function that returns them.
        batch_size: Examples in a batch of arrays.

    Returns:
        Both.

    Raises:
        UserError: If one of them cannot be imported, fails, or is no model.
    """
    import keras

    model = _made(location, "MODEL")
    if not isinstance(model, keras.Model):
        raise UserError(f"MODEL: {location} must be a Keras model, or a function that returns one; got {model!r}")
    return Trained(location, model, _made(data, "--data"), batch_size)


def _made(location: str, key: str) -> Data | keras.Model:
    """The object of that name, or what a function of that name returns."""
    import keras
    import tensorflow as tf

    found = load_custom(location, key)
    if isinstance(found, keras.Model | tf.data.Dataset | keras.utils.PyDataset) or not callable(found):
        return found
    try:
        return found()
    except Exception as error:
        raise UserError(f"{key}: {location}() failed: {type(error).__name__}: {error}") from error
