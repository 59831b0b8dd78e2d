"""The one axis of learning rates: c = 2 is the edge of whatever optimizer."""

import math

import numpy as np
import pytest

from sharpness_phases.config.loading import load_config
from sharpness_phases.runs.axis import axis_of, optimizer_in_words, preconditions
from sharpness_phases.sweep.optimizers import build_optimizer
from sharpness_phases.training.optimizers import PRECONDITIONED, edge_rule, stability_edge

OPTIMIZERS = {
    "{}": ("SGD", "ηλ₀"),
    "{weight_decay: 0.5}": ("SGD, weight decay 0.5", "2η/η_edge"),
    "{momentum: 0.9}": ("SGD, momentum 0.9", "2η/η_edge"),
    "{momentum: 0.9, nesterov: true, clipnorm: 1}": ("SGD, momentum 0.9, nesterov, clipnorm 1", "2η/η_edge"),
    "{name: rmsprop, momentum: 0.5, centered: true}": ("RMSprop, momentum 0.5, centered", "2η/η_edge"),
    "{name: adam, amsgrad: true}": ("Adam, amsgrad", "2η/η_edge"),
    "{name: adamw, weight_decay: 2.0}": ("AdamW, weight decay 2", "2η/η_edge"),
    "{name: adam, initial_second_moment: gradient}": ("Adam, initial second moment gradient", "2η/η_edge"),
    "{name: nadam, beta_1: 0.8}": ("Nadam, beta 1 0.8", "2η/η_edge"),
}
LAMBDA_0 = 12.5


def config_of(settings):
    return load_config("quickstart", [f"optimizer={settings}"])


@pytest.mark.parametrize("settings", OPTIMIZERS)
def test_the_axis_has_the_edge_that_is_read_from_kerass_optimizer_itself(settings):
    config = config_of(settings)
    axis, optimizer = axis_of(config), build_optimizer(config.trained_by)
    assert axis.rule == edge_rule(optimizer)
    assert axis.constant == 2.0
    optimizer.learning_rate = axis.rate(2.0, LAMBDA_0)
    found = stability_edge(optimizer)
    assert found.edge == pytest.approx(LAMBDA_0, rel=1e-6)
    assert (found.operator == PRECONDITIONED) == preconditions(config.trained_by)
    assert found.words == axis.edge_in_words
    assert (optimizer_in_words(config.trained_by), axis.c_in_words) == OPTIMIZERS[settings]


def test_a_warm_up_is_told_with_the_optimizer():
    words = {
        "{warmup: {steps: 1}}": "SGD, warm-up of 1 step",
        "{name: adam, warmup: {steps: 8, start: 0.1}}": "Adam, warm-up of 8 steps from 0.1 η",
        "{name: adam, warmup: {start: 0.1}}": "Adam",
    }
    assert {settings: optimizer_in_words(config_of(settings).trained_by) for settings in words} == words


@pytest.mark.parametrize("settings", OPTIMIZERS)
def test_the_edge_of_a_run_is_that_of_its_rate(settings):
    axis = axis_of(config_of(settings))
    for c in (0.25, 1.0, 2.0, 7.0):
        rate = axis.rate(c, LAMBDA_0)
        assert axis.edge_of_run(c, LAMBDA_0) == pytest.approx(axis.edge(rate), rel=1e-12)
        assert 2 * rate / axis.rate(2.0, LAMBDA_0) == pytest.approx(c, rel=1e-12)


def test_gradient_descent_keeps_its_rates_to_the_last_bit():
    axis, rng = axis_of(config_of("{}")), np.random.default_rng(0)
    for exponent, sharpness in zip(rng.uniform(-1, 6, 200), rng.uniform(0.1, 1e4, 200), strict=True):
        assert axis.rate(2.0**exponent, sharpness) == 2.0**exponent / sharpness
        assert axis.edge_of_run(2.0**exponent, sharpness) == 2.0 * sharpness / 2.0**exponent


def test_the_momentum_of_older_configs_keeps_its_axis():
    config = load_config("quickstart", ["training.momentum=0.9"])
    axis = axis_of(config)
    assert axis.rate(3.0, LAMBDA_0) == 3.0 / LAMBDA_0
    assert axis.constant == pytest.approx(3.8)
    assert axis.edge_of_run(3.8, LAMBDA_0) == pytest.approx(LAMBDA_0)
    assert (axis.c_in_words, axis.edge_in_words) == ("ηλ₀", "2(1 + m)/η")
    assert build_optimizer(config.trained_by).momentum == 0.9


def test_no_edge_is_claimed_of_an_optimizer_of_ones_own():
    config = config_of("{name: 'mine:Own'}")
    axis = axis_of(config)
    assert axis.rate(3.0, LAMBDA_0) == 3.0 / LAMBDA_0
    assert all(map(math.isnan, (axis.constant, axis.edge(0.1), axis.edge_of_run(1.0, LAMBDA_0), axis.rate_times_edge)))
    assert not preconditions(config.trained_by)
