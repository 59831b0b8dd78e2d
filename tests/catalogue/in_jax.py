"""The same networks in another framework: JAX's second derivatives, in float64, in a process of its own.

Run as a program, it answers requests on its standard input, a line of JSON each: `{"name": ..., "weights": a file}`.
"""

from __future__ import annotations

import json
import os
import sys
import time

import numpy as np


def largest_eigenvalue(name: str, weights: str) -> tuple[float, float]:
    """Loss and largest eigenvalue of the Hessian of an entry, at weights of a file written by `numpy.savez`."""
    import jax
    import keras
    from catalogue.architecture import built
    from catalogue.spectrum import largest_of

    problem = built(name)
    network = problem.network
    with np.load(weights) as file:
        network.set_weights([file[key] for key in file.files])
    network.compile(loss=problem.loss, loss_weights=problem.loss_weights)
    double = lambda a: np.asarray(a, np.float64) if np.issubdtype(np.asarray(a).dtype, np.floating) else np.asarray(a)
    x, y = (keras.tree.map_structure(double, part) for part in (problem.x, problem.y))
    network._symbolic_build(data_batch=(x, y)) if problem.loss is not None else None
    fixed = [v.value for v in network.non_trainable_variables]
    metrics = [v.value for v in network.metrics_variables]

    def loss(trainable):
        outputs, _, extra = network.stateless_call(trainable, fixed, x, training=False, return_losses=True)
        value, _ = network.stateless_compute_loss(trainable, fixed, metrics, x=x, y=y, y_pred=outputs, training=False)
        return value + sum(extra) if extra else value

    theta, unravel = jax.flatten_util.ravel_pytree([v.value for v in network.trainable_variables])
    gradient = jax.grad(lambda flat: loss(unravel(flat)))
    product = jax.jit(lambda v: jax.jvp(gradient, (theta,), (v,))[1])
    return float(loss(unravel(theta))), largest_of(lambda v: np.asarray(product(v)), theta.size)


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
    import jax.flatten_util
    import keras

    jax.config.update("jax_enable_x64", True)
    keras.config.set_floatx("float64")
    import catalogue.all  # noqa: F401

    _batch_statistics()
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        request, begun = json.loads(line), time.perf_counter()
        try:
            loss, value = largest_eigenvalue(**request)
            answer = {"loss": loss, "sharpness": value, "seconds": time.perf_counter() - begun}
        except Exception as error:
            import traceback

            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        jax.clear_caches()
        keras.backend.clear_session()
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
