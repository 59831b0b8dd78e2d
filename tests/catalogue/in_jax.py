"""The same networks in another framework: JAX's second derivatives, in float64, in a process of its own.

Run as a program, it answers requests on its standard input, a line of JSON each: `{"name": ..., "weights": a file}`.
"""

from __future__ import annotations

import json
import os
import sys
import traceback

import numpy as np


def largest_eigenvalue(name: str, weights: str) -> tuple[float, float]:
    """Loss and largest eigenvalue of the Hessian of an entry, at weights of a file written by `numpy.savez`."""
    import jax
    import keras
    from catalogue.architecture import built
    from catalogue.spectrum import largest_of
    from jax.flatten_util import ravel_pytree

    problem = built(name)
    network = problem.network
    with np.load(weights) as file:
        network.set_weights([file[key] for key in file.files])
    network.compile(loss=problem.loss, loss_weights=problem.loss_weights)
    x, y = (keras.tree.map_structure(_in_double, part) for part in (problem.x, problem.y))
    if problem.loss is not None:
        network._symbolic_build(data_batch=(x, y))
    fixed = [v.value for v in network.non_trainable_variables]
    metrics = [v.value for v in network.metrics_variables]
    theta, unravel = ravel_pytree([v.value for v in network.trainable_variables])

    def loss(flat):
        trainable = unravel(flat)
        outputs, _, added = network.stateless_call(trainable, fixed, x, training=False, return_losses=True)
        value, _ = network.stateless_compute_loss(trainable, fixed, metrics, x=x, y=y, y_pred=outputs, training=False)
        return value + sum(added) if added else value

    @jax.jit
    def along(vector):
        (value, _), (_, product) = jax.jvp(jax.value_and_grad(loss), (theta,), (vector,))
        return value, product

    value = float(along(theta)[0])
    return value, largest_of(lambda v: np.asarray(along(v)[1]), theta.size)


def _in_double(array):
    if array is None:
        return None
    return array.astype(np.float64) if np.issubdtype(array.dtype, np.floating) else array


def _batch_statistics() -> None:
    """Let batch normalisation that trains use the statistics of its examples, as training does; all else infers."""
    import keras

    call = keras.layers.BatchNormalization.call

    def with_statistics(layer, inputs, training=None, mask=None):
        return call(layer, inputs, training=bool(layer.trainable), mask=mask)

    keras.layers.BatchNormalization.call = with_statistics


def main() -> None:
    """Answer until the input ends."""
    os.environ["KERAS_BACKEND"] = "jax"
    import jax
    import keras

    jax.config.update("jax_enable_x64", True)
    keras.config.set_floatx("float64")
    import catalogue.all  # noqa: F401

    _batch_statistics()
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        try:
            loss, value = largest_eigenvalue(**json.loads(line))
            answer: dict[str, object] = {"loss": loss, "sharpness": value}
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        jax.clear_caches()
        keras.backend.clear_session()
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
