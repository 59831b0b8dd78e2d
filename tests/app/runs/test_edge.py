"""The edge against the spectral radius of the update on a quadratic loss."""

import numpy as np
import pytest

from sharpness_phases.runs.edge import EdgeRule, edge_constant, edge_in_words, sgd_edge


def largest_eigenvalue(curvature, rate, momentum, nesterov, decay):
    """Spectral radius of one step of Keras' SGD on (weight, velocity), on the loss curvature w^2 / 2."""

    def step(weight, velocity):
        gradient = curvature * weight
        weight = weight - rate * decay * weight
        velocity = momentum * velocity - rate * gradient
        ahead = momentum * velocity - rate * gradient if nesterov else velocity
        return weight + ahead, velocity

    matrix = np.transpose([step(1.0, 0.0), step(0.0, 1.0)])
    return np.abs(np.linalg.eigvals(matrix)).max()


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_training_is_stable_below_the_edge_and_not_above(momentum, nesterov, decay):
    edge = sgd_edge(0.05, momentum, nesterov, decay)
    assert largest_eigenvalue(0.999 * edge, 0.05, momentum, nesterov, decay) < 1
    assert largest_eigenvalue(1.001 * edge, 0.05, momentum, nesterov, decay) > 1


@pytest.mark.parametrize(
    ("arguments", "edge"),
    [((0.01,), 200), ((0.01, 0.9), 380), ((0.01, 0.9, True), 380 / 2.8), ((0.01, 0.0, True), 200)],
    ids=["plain", "heavy ball", "Nesterov", "Nesterov without momentum"],
)
def test_the_edge_has_the_values_of_the_literature(arguments, edge):
    assert sgd_edge(*arguments) == pytest.approx(edge)


def test_without_momentum_it_is_two_over_the_rate_to_the_last_bit():
    rates = np.random.default_rng(0).uniform(1e-6, 10, 1000)
    np.testing.assert_array_equal(sgd_edge(rates), 2 / rates)
    assert sgd_edge(float(rates[0])) == 2 / rates[0]


def test_a_learning_rate_of_zero_has_its_edge_at_infinity_and_weight_decay_may_leave_none():
    np.testing.assert_array_equal(sgd_edge(np.array([0.0, 0.1]), 0.5), [np.inf, 30.0])
    assert sgd_edge(1.0, weight_decay=3.0) == 0.0


def test_the_constant_and_the_words_follow():
    assert edge_constant() == 2.0
    assert edge_constant(0.9) == pytest.approx(3.8)
    assert (edge_in_words(), edge_in_words(0.9)) == ("2/η", "2(1 + m)/η")


@pytest.mark.parametrize(
    ("rule", "edge", "words"),
    [
        (EdgeRule(), 200, "2/η"),
        (EdgeRule(weight_decay=10.0), 190, "2/η - γ"),
        (EdgeRule(0.9, weight_decay=10.0), 361, "(1 + m)(2/η - γ)"),
        (EdgeRule(0.9, nesterov=True, weight_decay=10.0), 361 / 2.8, "(1 + m)(2/η - γ)/(1 + 2m)"),
        (EdgeRule(0.9, averages=True), 3800, "2(1 + β₁)/(η(1 - β₁))"),
        (EdgeRule(0.9, True, True, 10.0), 3610 / 2.8, "(1 + β₁)(2/η - γ)/((1 - β₁)(1 + 2β₁))"),
    ],
    ids=["plain", "decay", "heavy ball", "Nesterov", "Adam", "Nadam"],
)
def test_a_rule_has_its_formula_in_words(rule, edge, words):
    assert rule.edge(0.01) == pytest.approx(edge)
    assert rule.in_words == words


@pytest.mark.parametrize(
    "rule",
    [EdgeRule(), EdgeRule(0.9), EdgeRule(0.9, True, weight_decay=3.0), EdgeRule(0.9, averages=True, weight_decay=0.1)],
    ids=["plain", "heavy ball", "Nesterov with decay", "AdamW"],
)
def test_training_begins_at_its_edge_where_c_is_two_whatever_the_optimizer(rule):
    assert rule.edge(rule.rate(2.0, 17.0)) == pytest.approx(17.0)
    assert rule.rate(0.5, 17.0) == pytest.approx(rule.rate(2.0, 17.0) / 4)


def test_the_axis_of_plain_descent_is_the_rate_times_the_sharpness_to_the_last_bit():
    c, sharpness = 2.0 ** np.arange(-3, 6, 0.1), 7.123456789
    np.testing.assert_array_equal(EdgeRule().rate(c, sharpness), c / sharpness)
