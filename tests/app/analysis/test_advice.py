import pytest

from sharpness_phases.analysis.advice import GRID, LearningRateAdvice, suggestion


def at(c):
    """The grid's c nearest to c."""
    return min(GRID, key=lambda value: abs(value - c))


def test_the_suggestion_is_the_grid_point_just_below_c_loss():
    c, reason = suggestion(at(4), at(16), steps=10)
    assert c == GRID[GRID.index(at(4)) - 1]
    assert reason.startswith("Just below c_loss")
    assert "noise" not in reason


@pytest.mark.parametrize("c_loss", [at(9), at(15), None])
def test_it_is_never_above_half_of_c_max(c_loss):
    c, reason = suggestion(c_loss, at(16), steps=10)
    assert c == at(16) / 2
    assert reason.startswith("Half of c_max")


def test_a_loss_that_never_rises_and_never_diverges_gives_half_of_the_largest_c_tried():
    c, reason = suggestion(None, None, steps=10)
    assert c == GRID[-1] / 2
    assert "largest c tried" in reason


def test_a_loss_that_always_rises_gives_the_smallest_rate_and_says_so():
    c, reason = suggestion(GRID[0], at(4), steps=10)
    assert c == GRID[0]
    assert "even there" in reason


def test_a_rise_below_the_limit_of_a_quadratic_is_told_to_be_noise():
    c, reason = suggestion(at(0.5), at(4), steps=10)
    assert c < 0.5
    assert "larger batches" in reason


@pytest.mark.parametrize("c_loss", [*GRID[::6], None])
@pytest.mark.parametrize("c_max", [*GRID[::6], None])
def test_the_rule_is_quiet_and_below_c_max_everywhere(c_loss, c_max):
    c, reason = suggestion(c_loss, c_max, steps=10)
    assert 0 < c <= (GRID[-1] if c_max is None else c_max) / 2
    assert c_loss is None or c < c_loss or c_loss == GRID[0]
    assert reason.endswith(".")


def test_the_text_tells_the_rate_and_all_it_rests_on():
    advice = LearningRateAdvice(0.03, "Just below c_loss.", 100.0, 3.2, None, 10, 64, 12, "Caution: Adam.")
    assert advice.c == pytest.approx(3.0)
    assert advice.stability_limit == pytest.approx(0.02)
    first, *rows = str(advice).splitlines()
    assert first == "Suggested learning rate: 0.03 (c = 3)"
    assert [row.split(":")[1].split() for row in rows[:3]] == [
        ["0.02", "c", "=", "2"],
        ["0.032", "c", "=", "3.2"],
        ["no", "such", "rate"],
    ]
    assert "lambda_0 = 100" in rows[3]
    assert "12 runs" in rows[3]
    assert rows[4:] == ["Just below c_loss.", "Caution: Adam."]
