import logging

import pytest
import tensorflow as tf

from sharpness_phases.training.tracing import traced


def warnings(make, caplog):
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="tensorflow"):
        for k in range(8):
            make(lambda x, k=k: x + k)(tf.constant(1.0))
    return [record for record in caplog.records if "retracing" in record.getMessage()]


def test_functions_of_many_models_are_traced_without_a_warning_of_tensorflows(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("tensorflow"), "propagate", True)
    assert warnings(traced, caplog) == []
    assert warnings(tf.function, caplog)  # which would warn


def test_settings_reach_the_function():
    assert traced(lambda x: x, reduce_retracing=True)._reduce_retracing


def test_autograph_converts_nothing_as_in_the_training_step_of_keras():
    with pytest.raises(tf.errors.OperatorNotAllowedInGraphError, match="AutoGraph"):
        traced(lambda x: 1 if x > 0 else 0)(tf.constant(1.0))
