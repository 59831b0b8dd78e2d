"""The stability edge: the sharpness at which an optimizer becomes unstable. The one place that every threshold is from.

What is stored, drawn, labelled or said of an edge - regimes, pictures, TensorBoard, report, callbacks - comes from
here; nothing here needs TensorFlow.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

Rate: TypeAlias = float | np.ndarray
"""A learning rate eta, or several."""


def sgd_edge(learning_rate: Rate, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0) -> Rate:
    """The edge of gradient descent, with momentum m and decoupled weight decay gamma as Keras' SGD has them.

    On a quadratic loss of curvature lambda, full batch, the update of weight and velocity is a 2 x 2 matrix, which has
    the eigenvalue -1 at

        lambda = (1 + m) (2 / eta - gamma)                  with velocity (heavy ball); 2 / eta - gamma for m = 0
        lambda = (1 + m) (2 / eta - gamma) / (1 + 2 m)      with Nesterov's velocity

    and is unstable beyond (Polyak 1964; Cohen et al. 2021, Sec. 2 and App. B).

    Args:
        learning_rate: eta, a number or an array; 0 has its edge at infinity.
        momentum: m, share of the last velocity that is kept, in [0, 1).
        nesterov: Whether the velocity is Nesterov's, as of `keras.optimizers.SGD(nesterov=True)`.
        weight_decay: gamma, of w -= eta gamma w before each step; 0 for none.

    Returns:
        The edge, of the learning rate's shape, in units of the sharpness; exactly 2 / eta for m = gamma = 0. It is 0
        where weight decay alone is unstable.
    """
    with np.errstate(divide="ignore"):
        plain = 2 / np.asarray(learning_rate, np.float64) - weight_decay
    edge = np.maximum((1 + momentum) / (1 + 2 * momentum if nesterov else 1) * plain, 0.0)
    return edge if edge.ndim else float(edge)


def edge_constant(momentum: float = 0.0) -> float:
    """The c = eta lambda_0 at which training begins at its edge: 2 (1 + m), for gradient descent with momentum m.

    Args:
        momentum: m, in [0, 1).

    Returns:
        eta times the edge, which does not depend on eta; 2 without momentum.
    """
    return float(sgd_edge(1.0, momentum))


def edge_in_words(momentum: float = 0.0) -> str:
    """The formula of the edge, for texts: "2/η", with momentum "2(1 + m)/η"."""
    return "2(1 + m)/η" if momentum else "2/η"
