"""What a model computes in methods of its own, where `keras.Model` has one."""

from __future__ import annotations

import keras


def has_own_step(model: keras.Model) -> bool:
    """Whether a model's training step is its own, so that its loss and its update are not known apart."""
    return type(model).train_step is not keras.Model.train_step


def has_own_loss(model: keras.Model) -> bool:
    """Whether a model has a `compute_loss` of its own."""
    return type(model).compute_loss is not keras.Model.compute_loss
