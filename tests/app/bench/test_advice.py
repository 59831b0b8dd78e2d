import json
import math

import keras
import numpy as np
import pytest

from sharpness_phases import recommend_learning_rate
from sharpness_phases.bench.advice import benchmark as bench
from sharpness_phases.bench.advice.finders import FINDERS, smooth, steep, steepest_average, steepest_step, valley
from sharpness_phases.bench.advice.tasks import TASKS, Task


def _advise(model, data, task, seed):
    advice = recommend_learning_rate(model, data, task.batch_size, task.steps, seed=seed)
    return advice.learning_rate, advice.cost


RATES = np.geomspace(1e-7, 10, 100)


def basin(best):
    """Losses that fall until a rate, and then blow up."""
    place = np.log10(RATES / best)
    return 2.3 - 1.5 / (1 + np.exp(-3 * (place + 1))) + np.exp(np.minimum(4 * (place - 0.5), 20))


def test_the_steepest_place_per_factor_of_the_rate_is_found():
    assert 1e-3 < steep(RATES, basin(0.1)) < 0.1


def test_the_valley_is_the_middle_of_the_longest_fall():
    losses = np.r_[np.linspace(1, 2, 40), np.linspace(2, 0.5, 30), np.linspace(0.6, 5, 30)]
    assert valley(RATES, losses) in RATES[52:57]


def test_the_steepest_step_is_found():
    losses = np.ones(100)
    losses[40:] = 0.2
    assert steepest_step(RATES, losses) in RATES[39:41]
    assert steepest_average(RATES, np.r_[np.ones(50), np.linspace(1, 0, 30), np.zeros(20)]) in RATES[68:82]


def test_too_short_a_test_gives_no_rate():
    for rule in (valley, steep, steepest_step, steepest_average):
        assert math.isnan(rule(RATES[:8], np.ones(8)))


def test_smoothing_has_no_bias_towards_zero():
    np.testing.assert_allclose(smooth(np.full(20, 3.0), 0.98), 3.0)


def test_a_range_test_ends_where_the_loss_is_four_times_its_lowest():
    finder = FINDERS["fastai, valley"]._replace(memory=0.0)
    losses = np.ones(100)
    losses[60:] = 5.0
    assert finder.suggestion(losses)[1] == 61


def test_every_kind_of_network_is_in_both_halves_and_both_are_equally_large():
    parts = [task.part for task in TASKS]
    assert parts.count("tuned") == parts.count("reported") >= 12
    assert len({task.name for task in TASKS}) == len(TASKS)
    for kind in ("mlp", "cnn", "cnn bn", "deep", "resnet", "vit", "lstm"):
        assert {task.part for task in TASKS if kind in task.name} == {"tuned", "reported"}


def tiny(steps=40):
    def build():
        return keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])

    return Task("tiny sgd", "tuned", build, "fashion_mnist", "crossentropy", "sgd", steps, 32)


@pytest.mark.slow
def test_all_methods_are_held_against_the_best_of_the_grid_and_kept(tmp_path, monkeypatch):
    monkeypatch.setitem(bench.RATES, "sgd", (-10, -8))  # the best one is found beyond
    found = list(bench.benchmark([tiny()], [0, 1], tmp_path, None, _advise))
    assert {outcome.method for outcome in found} == {"advice", "Keras' default", *FINDERS}
    assert all(outcome.regret >= 0 for outcome in found)
    advice = [outcome for outcome in found if outcome.method == "advice"]
    assert max(outcome.regret for outcome in advice) < 0.2
    assert len(json.loads((tmp_path / "tiny_sgd_0.json").read_text())) == len(found) / 2

    monkeypatch.setattr(bench, "run_task", None)  # nothing is run twice
    again = list(bench.benchmark([tiny()], [0, 1], tmp_path, None, _advise))
    assert [outcome.learning_rate for outcome in again if outcome.method == "advice"] == [
        outcome.learning_rate for outcome in advice
    ]
    figures = bench.summary(found)["advice"]
    assert figures["diverged"] == 0
    assert figures["spread"] >= 1


def outcome(**given):
    plain = bench.Outcome("a", "tuned", 0, "advice", 0.1, 100.0, 2.0, 1.0, 1.0)
    return plain._replace(**given)


def test_regret_is_a_share_of_what_training_can_gain():
    assert outcome().regret == 0
    assert outcome(final=1.5).regret == 0.5
    assert outcome(final=math.nan, learning_rate=math.nan).regret == 1
    assert outcome(final=math.inf).diverged


def test_spread_is_the_ratio_of_two_seeds():
    figures = bench.summary([outcome(), outcome(seed=1, learning_rate=0.2), outcome(seed=2, learning_rate=0.1)])
    assert figures["advice"]["spread"] == 2
    assert figures["advice"]["steps"] == 100
