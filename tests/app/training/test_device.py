import pytest
import tensorflow as tf

from sharpness_phases.training.device import (
    counted_flops,
    describe_device,
    matrix_product_rate,
    set_precision,
    share_memory,
    uses_xla,
)


def test_the_device_is_described_by_its_kind_and_name():
    kind, name = describe_device().split(": ", 1)
    assert kind in ("CPU", "GPU")
    assert name


@pytest.mark.parametrize("setting", [True, False])
def test_float32_products_are_rounded_to_tensor_float_32_only_if_asked(setting):
    set_precision(setting)
    assert tf.config.experimental.tensor_float_32_execution_enabled() is setting
    set_precision(False)


@pytest.mark.parametrize(
    ("setting", "gpus", "expected"),
    [
        ("auto", ["gpu"], True),
        ("auto", [], False),
        ("always", [], True),
        ("never", ["gpu"], False),
    ],
)
def test_xla_compiles_on_a_gpu_or_where_it_is_asked_for(setting, gpus, expected, monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
    assert uses_xla(setting) is expected


def test_the_description_tells_of_xla():
    assert describe_device("always") == f"{describe_device()}, compiled by XLA"


@pytest.mark.parametrize("error", [None, RuntimeError("already initialized")])
def test_memory_of_every_gpu_is_taken_as_needed_if_it_is_not_in_use_yet(error, monkeypatch):
    grown = []

    def grow(gpu, enable):
        if error:
            raise error
        grown.append((gpu, enable))

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["first", "second"])
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", grow)
    share_memory()
    assert grown == ([] if error else [("first", True), ("second", True)])


def test_the_rate_of_matrix_products_is_that_of_this_century():
    assert 1e8 < matrix_product_rate(size=128, seconds=0.05) < 1e16


def test_a_matrix_product_has_two_operations_for_each_pair():
    count = counted_flops(tf.linalg.matmul, tf.TensorSpec([3, 5]), tf.TensorSpec([5, 7]))
    assert count == 2 * 3 * 5 * 7


@pytest.mark.parametrize("transposed", [False, True])
def test_so_has_each_of_a_stack_of_matrices(transposed):
    shape = [2, 5, 3] if transposed else [2, 3, 5]
    count = counted_flops(
        lambda a, b: tf.linalg.matmul(a, b, transpose_a=transposed), tf.TensorSpec(shape), tf.TensorSpec([2, 5, 7])
    )
    assert count == 2 * 2 * 3 * 5 * 7
