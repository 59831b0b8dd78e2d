import math

import numpy as np
import pytest

from sharpness_phases.analysis.advice import Facts, Warmup, reasons, warmup_of
from sharpness_phases.analysis.rate_search import RateFinding, end_of_run, search_rate

FACTS = Facts(edge_rate=0.1, sharpness=20.0, edge_words="2/η", eta_c=(0.3, 0.2, 0.4))


def parabola(eta, steps):
    """Gradient descent on w^2 with curvature 1: w falls by the factor 1 - eta."""
    losses = (1 - eta) ** (2.0 * np.arange(steps))
    return np.where(losses > 1e4, np.inf, losses)


def valley(best, noise=0.0, seed=0):
    """Runs whose loss after n steps is lowest at one rate, whatever n; beyond eight times of it they are gone."""

    def losses(eta, steps):
        place = math.log2(eta / best)
        if place > 3:
            return np.where(np.arange(steps) > 2, np.inf, 1.0)
        speed = 0.2 * 2.0 ** -abs(place)
        extra = noise * np.random.default_rng([seed, steps]).standard_normal(steps)
        return np.exp(-speed * np.arange(steps)) + extra

    return losses


@pytest.mark.parametrize("start", [1e-6, 1e-3, 1.0, 10.0])
def test_the_best_rate_is_found_from_wherever_the_search_begins(start):
    found = search_rate(valley(3e-3), start, horizon=32)
    assert 2e-3 < found.preferred < 4.5e-3
    assert found.ceiling <= 8 * 3e-3 * 4


def test_the_best_rate_of_a_parabola_is_below_its_edge():
    found = search_rate(parabola, 0.1, horizon=32)
    assert 0.3 < found.learning_rate < 1.7
    assert found.ceiling <= 2


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
def test_the_answer_scales_with_rates_and_with_losses(scale):
    plain = search_rate(parabola, 0.1, horizon=100)
    rates = search_rate(lambda eta, steps: parabola(eta / scale, steps), 0.1 * scale, horizon=100)
    losses = search_rate(lambda eta, steps: scale * parabola(eta, steps), 0.1, horizon=100)
    assert rates.learning_rate == pytest.approx(scale * plain.learning_rate)
    assert losses.learning_rate == pytest.approx(plain.learning_rate)


def test_no_more_steps_are_taken_than_the_budget_allows():
    taken = {}

    def losses(eta, steps):
        taken[eta] = max(steps, taken.get(eta, 0))
        return valley(0.1)(eta, steps)

    for budget in (100, 160, 400):
        taken.clear()
        search_rate(losses, 0.1, horizon=1000, budget=budget)
        assert sum(taken.values()) <= budget


def test_longer_trainings_get_smaller_rates():
    rates = [search_rate(valley(0.1), 0.1, horizon).learning_rate for horizon in (32, 1000, 30_000)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] < 10 * rates[2]


def test_noise_moves_the_answer_little():
    rates = [search_rate(valley(0.1, 0.02, seed), 0.1, 100).learning_rate for seed in range(10)]
    assert max(rates) < 1.5 * min(rates)


def test_runs_of_which_none_lowers_the_loss_give_no_rate():
    found = search_rate(lambda eta, steps: 1.0 + eta * np.arange(steps), 0.1, horizon=100)
    assert math.isnan(found.learning_rate)
    assert found.ceiling == 0


def test_runs_that_all_go_give_no_rate():
    found = search_rate(lambda eta, steps: np.where(np.arange(steps) > 0, np.inf, 1.0), 0.1, horizon=100)
    assert math.isnan(found.learning_rate)


def test_the_end_of_a_run_is_the_mean_of_its_last_quarter():
    assert end_of_run(np.array([8.0, 8, 8, 8, 8, 8, 1, 3])) == 2
    assert end_of_run(np.array([1.0, np.inf])) == np.inf


CALM = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5]


def test_a_run_that_first_rises_is_warmed_up_to_until_twice_the_step_where_it_is_back():
    curves = {0.001: [1.0] * 6, 0.2: [1.0, 1.5, 1.3, 0.8, 0.4, 0.3]}
    assert warmup_of(0.2, curves, FACTS) == Warmup(6, 0.05)
    assert warmup_of(0.9, curves, FACTS).first_rate == 0.1  # the edge


def test_what_is_hard_for_all_runs_is_no_rise():
    curves = {0.001: [1.0, 2.0, 1.0, 1.0, 1.0, 1.0], 0.2: [1.0, 2.1, 0.9, 0.8, 0.7, 0.6]}
    assert warmup_of(0.2, curves, FACTS) is None


def finding(rate=0.05, ceiling=math.inf):
    return RateFinding(rate, 1.5 * rate, ceiling, 32, True, {rate: (32, 0.5)}, 1.0)


def test_every_fact_has_its_sentence():
    said = " ".join(reasons(finding(0.2, 0.8), Warmup(6, 0.05), FACTS, 1000))
    for words in ("0.3", "For 1000 steps", "20", "2/η", "2 times", "0.2 to 0.4 on 3 batches", "0.8", "6 steps"):
        assert words in said


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (FACTS, "the suggestion is 0.5 of that"),
        (FACTS._replace(edge_rate=math.nan, edge_words="of an own optimizer"), "is not known: of an own optimizer"),
        (FACTS._replace(edge_rate=math.inf, sharpness=-2.0), "The sharpness is -2, not positive"),
    ],
)
def test_the_edge_is_told_as_it_is(facts, words):
    assert words in " ".join(reasons(finding(), None, facts, 100))


def test_unknown_facts_are_no_rates():
    assert Facts(math.inf, -1.0, "", ()).safe_rates == []
    assert math.isnan(Facts(math.inf, -1.0, "", ()).safe_step)
