import pytest

from sharpness_phases.config.loading import load_config
from sharpness_phases.runs.spec import Cell
from sharpness_phases.sweep.networks import build_network
from sharpness_phases.training.device import double_precision


def network_of(family, *overrides):
    settings = [f"model={{family: {family}}}", "sweep.depths=[1]", "sweep.widths=[8]", *overrides]
    config = load_config("quickstart", settings)
    return build_network(config.model, Cell(1, 8, 0), config.data.info)


@pytest.mark.parametrize(("precision", "context"), [("float32", None), ("float64", double_precision)])
def test_a_familys_network_has_keras_precision_so_that_an_audit_is_in_double_precision(precision, context):
    if context is None:
        network = network_of("fcn")
    else:
        with context():
            network = network_of("fcn")
    assert {weight.dtype for weight in network.weights} == {precision}


def test_a_network_of_tokens_has_the_vocabulary_and_the_outputs_of_its_data():
    sums = network_of("transformer", "data={dataset: modular_addition, modulus: 40}")
    assert sums.weights[0].shape == (41, 8)
    assert sums.output_shape == (None, 40)
    plays = network_of("transformer", "data={dataset: shakespeare, context_length: 12}")
    assert plays.weights[0].shape == (66, 8)
    assert plays.output_shape == (None, 12, 66)
