"""The stability edge: the sharpness at which an optimizer becomes unstable. The one place that every threshold is from.

What is stored, drawn, labelled or said of an edge - regimes, pictures, TensorBoard, report, callbacks - comes from
here; nothing here needs TensorFlow.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np

Rate: TypeAlias = float | np.ndarray
"""A learning rate eta, or several."""


class EdgeRule(NamedTuple):
    """What decides an optimizer's edge, beside its learning rate.

    On a quadratic loss, full batch, let lambda be the largest eigenvalue of P^-1/2 H P^-1/2, with P the diagonal by
    which the optimizer divides (1 for gradient descent) and gamma its decoupled weight decay, w -= eta gamma w before
    each step. The update of weight and velocity is a 2 x 2 matrix, which has the eigenvalue -1 at

        lambda = (1 + m) (2 / eta - gamma)                            heavy ball: SGD, RMSprop
        lambda = (1 + m) (2 / eta - gamma) / (1 + 2 m)                with Nesterov's velocity
        lambda = (1 + m) (2 / eta - gamma) / (1 - m)                  where an average of gradients is descended: Adam
        lambda = (1 + m) (2 / eta - gamma) / ((1 - m) (1 + 2 m))      both: Nadam

    and is unstable beyond (Polyak 1964; Cohen et al. 2021, Sec. 2 and App. B; Cohen et al. 2022, Sec. 2).

    Attributes:
        momentum: m, share of the last velocity that is kept, in [0, 1); beta_1 of Adam.
        nesterov: Whether the step looks ahead, as with `keras.optimizers.SGD(nesterov=True)` and Nadam.
        averages: Whether the velocity is an average of gradients, m v + (1 - m) g, as Adam's is, in the place of a sum.
        weight_decay: gamma; 0 for none.
    """

    momentum: float = 0.0
    nesterov: bool = False
    averages: bool = False
    weight_decay: float = 0.0

    def edge(self, learning_rate: Rate) -> Rate:
        """The edge at one learning rate, or at several.

        Args:
            learning_rate: eta, a number or an array; 0 has its edge at infinity.

        Returns:
            The edge, of the learning rate's shape; exactly 2 / eta for m = gamma = 0. It is 0 where weight decay alone
            is unstable.
        """
        with np.errstate(divide="ignore"):
            plain = 2 / np.asarray(learning_rate, np.float64) - self.weight_decay
        edge = np.maximum(self.factor * plain, 0.0)
        return edge if edge.ndim else float(edge)

    def rate(self, c: Rate, sharpness: float) -> Rate:
        """The learning rate on the one axis of all optimizers: eta = c eta_edge / 2, with edge(eta_edge) = lambda.

        Args:
            c: The learning-rate constant, in units of half the edge: at c = 2 training begins at its edge.
            sharpness: lambda, of the optimizer's operator, before training; above 0.

        Returns:
            eta, of the shape of c; exactly c / lambda for plain gradient descent.
        """
        return c / (sharpness / self.factor + self.weight_decay)

    @property
    def factor(self) -> float:
        """The edge over 2 / eta - gamma; 1 for plain gradient descent."""
        factor = (1 + self.momentum) / (1 + 2 * self.momentum if self.nesterov else 1)
        return factor / (1 - self.momentum) if self.averages else factor

    @property
    def in_words(self) -> str:
        """The formula, for texts: "2/η", "2(1 + m)/η", "(1 + m)(2/η - γ)", with β₁ for Adam's m."""
        m = "β₁" if self.averages else "m"
        below = [f"(1 - {m})"] * self.averages + [f"(1 + 2{m})"] * self.nesterov
        if not self.momentum:
            return "2/η - γ" if self.weight_decay else "2/η"
        if self.weight_decay:
            divided = f"/({''.join(below)})" if len(below) > 1 else "".join(f"/{part}" for part in below)
            return f"(1 + {m})(2/η - γ){divided}"
        return f"2(1 + {m})/(η{''.join(below)})" if below else f"2(1 + {m})/η"


def sgd_edge(learning_rate: Rate, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0) -> Rate:
    """The edge of gradient descent, with momentum and decoupled weight decay as Keras' SGD has them (`EdgeRule`).

    Args:
        learning_rate: eta, a number or an array; 0 has its edge at infinity.
        momentum: m, share of the last velocity that is kept, in [0, 1).
        nesterov: Whether the velocity is Nesterov's, as of `keras.optimizers.SGD(nesterov=True)`.
        weight_decay: gamma, of w -= eta gamma w before each step; 0 for none.

    Returns:
        The edge, of the learning rate's shape, in units of the sharpness; exactly 2 / eta for m = gamma = 0. It is 0
        where weight decay alone is unstable.
    """
    return EdgeRule(momentum, nesterov, weight_decay=weight_decay).edge(learning_rate)


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
    return EdgeRule(momentum).in_words
