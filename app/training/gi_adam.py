"""Adam whose second moment begins with the first gradient instead of zero (GI-Adam)."""

from __future__ import annotations

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="sharpness_phases")
class GIAdam(keras.optimizers.Adam):
    """Adam with v_0 = g_0^2, gradient-initialised (Kalra & Barkeshli 2024).

    Everything else is Keras' Adam, its bias correction included: the first steps are those of v_hat_t = v_t / (1 -
    beta_2^t), larger than g_0^2, so that P of the first step is 1 / sqrt(1 - beta_2) times that of Adam, 32 times for
    beta_2 = 0.999 and gradients far above epsilon, and falls to it over about 1 / (1 - beta_2) steps: a warm-up of the
    rate eta sqrt(1 - beta_2^t).
    With a `weight_decay` it is AdamW likewise. Its arguments are those of `keras.optimizers.Adam`.

    Example:
        >>> GIAdam(0.01, beta_2=0.95).get_config()["beta_2"]
        0.95
    """

    def update_step(
        self, gradient: tf.Tensor | tf.IndexedSlices, variable: keras.Variable, learning_rate: tf.Tensor | float
    ) -> None:
        """One update, of which the first begins with v = g^2, which Adam's own update then leaves as it is.

        Args:
            gradient: Of the loss, as it comes from clipping.
            variable: What it is the gradient of.
            learning_rate: eta of this step.
        """
        second = self._velocities[self._get_variable_index(variable)]
        whole = tf.cast(tf.convert_to_tensor(gradient), second.dtype)  # of a sparse one Keras would square each part
        fresh = tf.equal(tf.convert_to_tensor(self.iterations), 0)
        self.assign(second, tf.where(fresh, tf.square(whole), tf.convert_to_tensor(second)))
        super().update_step(whole, variable, learning_rate)
