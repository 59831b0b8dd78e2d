import math

import pytest

from sharpness_phases.models.parameterization import layer_scale


@pytest.mark.parametrize(("gain", "variance"), [(2.0, 2 / 784), (1.0, 1 / 784)])
def test_standard_weights_have_variance_gain_over_fan_in(gain, variance):
    scale = layer_scale("standard", "input", 784, 64, gain)
    assert scale.stddev**2 == pytest.approx(variance)
    assert scale.multiplier == 1.0


@pytest.mark.parametrize("role", ["input", "hidden", "output"])
@pytest.mark.parametrize("parameterization", ["ntk", "mup"])
def test_hidden_activations_start_out_the_same_in_all_parameterizations(parameterization, role):
    standard, other = (layer_scale(name, role, 100, 64, 2.0) for name in ("standard", parameterization))
    if (parameterization, role) == ("mup", "output"):  # its outputs are smaller, by 1/sqrt(width)
        assert other.stddev * other.multiplier == pytest.approx(standard.stddev / math.sqrt(64))
    else:
        assert other.stddev * other.multiplier == pytest.approx(standard.stddev)


def test_an_unknown_parameterization_is_refused_by_name():
    with pytest.raises(ValueError, match="'lecun'.*standard, ntk, mup"):
        layer_scale("lecun", "input", 1, 1, 1.0)
