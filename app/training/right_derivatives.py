"""Operations whose second derivatives TensorFlow computes wrongly or not at all, written so that they are right.

`tf.nn.moments`, from which Keras' normalisation layers take mean and variance, stops a gradient that only first-order
derivatives may drop; the gradient of bilinear resizing is treated as a constant; softsign, the other ways to resize,
local response normalisation, pooling that tells where the maxima are, cuDNN's LSTM and GRU and the CTC loss have
gradients without a gradient; where tanh and the logistic function saturate, their derivatives are lost in rounding
(`saturated`). The substitutes have the same values and first derivatives. They stand in only while this project
computes a loss (`measured`), and in the thread that does; what was traced before is traced anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Literal, TypeAlias, get_args

import keras
import tensorflow as tf
from tensorflow.python.ops import gen_image_ops, nn_impl

from sharpness_phases.training.right_ctc import right_ctc_loss, right_ctc_loss_of_version_1
from sharpness_phases.training.saturated import ACCURATE
from sharpness_phases.training.substitution import AnyFunction, Substitution, substituted

BatchNorm: TypeAlias = Literal["batch", "inference"]
"""Which statistics batch normalisation uses while measuring: those of the examples, as training does, or the moving
ones."""

LinearMap: TypeAlias = Callable[[tf.Tensor], tf.Tensor]
"""A linear function of a tensor."""

_Function = type(tf.function(lambda: None))
_call_function = _Function.__call__
_softsign = tf.nn.softsign
_batch_normalization = keras.layers.BatchNormalization.call
_recurrent = keras.layers.RNN.call
_NEAREST = "resize_nearest_neighbor"
_resize = {name: getattr(gen_image_ops, name) for name in (_NEAREST, "resize_bilinear", "resize_bicubic")}
_scale = gen_image_ops.scale_and_translate
_max_pool_with_argmax = tf.nn.max_pool_with_argmax


def require_batch_norm(value: str) -> BatchNorm:
    """Refuse what is no choice of statistics.

    Args:
        value: What was given as `batch_norm`.

    Returns:
        The same.

    Raises:
        ValueError: If it is none of `BatchNorm`.
    """
    for allowed in get_args(BatchNorm):
        if value == allowed:
            return allowed
    raise ValueError(f"`batch_norm` must be one of {', '.join(map(repr, get_args(BatchNorm)))}. Received: {value!r}.")


@contextmanager
def measured(batch_norm: BatchNorm = "batch") -> Iterator[None]:
    """Let this thread compute a network in inference mode with right second derivatives.

    Args:
        batch_norm: "batch": batch normalisation that is trained normalises by the examples' own mean and variance, and
            leaves its moving statistics alone; "inference": by the moving statistics, as what is frozen always does.

    Yields:
        Nothing.
    """
    with substituted([*_RIGHT, *(_WITH_BATCH_STATISTICS if batch_norm == "batch" else [])]):
        yield


@contextmanager
def nothing_assigned() -> Iterator[None]:
    """Let this thread compute a loss without a trace: what it would assign to Keras' variables is dropped.

    Keras' loss of several outputs counts each of them in a metric, and so may a loss of the user's. A
    `keras.StatelessScope` would drop these, too, but with them the losses of `add_loss` and of regularisers.

    Yields:
        Nothing.
    """
    with substituted([Substitution(keras.Variable, "_direct_assign", lambda variable, value: None)]):
        yield


def trained_batch_normalization(network: keras.Model) -> list[keras.layers.BatchNormalization]:
    """The batch normalisations that training lets normalise by the batch.

    Args:
        network: Any Keras model.

    Returns:
        Those that are not frozen.
    """
    layers = network._flatten_layers(include_self=False)
    return [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable]


def _moments(
    x: tf.Tensor,
    axes: list[int],
    shift: tf.Tensor | None = None,
    name: str | None = None,
    keep_dims: bool | None = None,
    keepdims: bool | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """`tf.nn.moments`: mean, and mean of squared deviations from it, through which derivatives flow."""
    with tf.name_scope(name or "moments"):
        exact = tf.cast(x, tf.float32) if x.dtype == tf.float16 else tf.convert_to_tensor(x)
        mean = tf.reduce_mean(exact, axes, keepdims=True)
        variance = tf.reduce_mean(tf.math.squared_difference(exact, mean), axes, keepdims=True)
        if not (keepdims or keep_dims):
            mean, variance = tf.squeeze(mean, axes), tf.squeeze(variance, axes)
        return tf.cast(mean, x.dtype), tf.cast(variance, x.dtype)


def _right_softsign(features: tf.Tensor, name: str | None = None) -> tf.Tensor:
    """Softsign x / (1 + |x|), whose derivative 1 / (1 + |x|)^2 is written in operations that have one."""

    @tf.custom_gradient
    def softsign(x: tf.Tensor) -> tuple[tf.Tensor, LinearMap]:
        return _softsign(x, name=name), lambda gradient: gradient / tf.square(1 + tf.abs(x))

    return softsign(tf.convert_to_tensor(features))


def _linear(forward: LinearMap, adjoint: LinearMap) -> LinearMap:
    """A linear map whose derivative is its adjoint, whose derivative is the map."""

    @tf.custom_gradient
    def there(x: tf.Tensor) -> tuple[tf.Tensor, LinearMap]:
        return forward(x), back

    @tf.custom_gradient
    def back(y: tf.Tensor) -> tuple[tf.Tensor, LinearMap]:
        return adjoint(y), there

    return there


def _right_resize(kind: str) -> AnyFunction:
    """Nearest, bilinear or bicubic resizing of images (B, H, W, C); what is no nearest pixel is float32."""
    forward, adjoint = _resize[kind], getattr(gen_image_ops, f"{kind}_grad")

    def resize(
        images: tf.Tensor,
        size: tf.Tensor,
        align_corners: bool = False,
        half_pixel_centers: bool = False,
        name: str | None = None,
    ) -> tf.Tensor:
        images = tf.convert_to_tensor(images)
        if not images.dtype.is_floating:
            return forward(images, size, align_corners, half_pixel_centers, name)
        # From which the adjoint takes the shape, and but for the nearest pixel the dtype.
        like = tf.shape(images)[1:3] if kind == _NEAREST else tf.stop_gradient(images)
        return _linear(
            lambda x: forward(x, size, align_corners, half_pixel_centers, name),
            lambda y: adjoint(y, like, align_corners, half_pixel_centers),
        )(images)

    return resize


def _right_scale(
    images: tf.Tensor,
    size: tf.Tensor,
    scale: tf.Tensor,
    translation: tf.Tensor,
    kernel_type: str = "lanczos3",
    antialias: bool = True,
    name: str | None = None,
) -> tf.Tensor:
    """Resizing of images (B, H, W, C) with antialiasing, and with Lanczos' and other kernels; output is float32."""
    images = tf.convert_to_tensor(images)
    if not images.dtype.is_floating:
        return _scale(images, size, scale, translation, kernel_type, antialias, name)
    like = tf.stop_gradient(tf.cast(images, tf.float32))  # the adjoint knows this dtype alone

    def adjoint(y: tf.Tensor) -> tf.Tensor:
        gradient = gen_image_ops.scale_and_translate_grad(y, like, scale, translation, kernel_type, antialias)
        return tf.cast(gradient, images.dtype)

    return _linear(lambda x: _scale(x, size, scale, translation, kernel_type, antialias, name), adjoint)(images)


def _right_local_response_normalization(
    input: tf.Tensor,
    depth_radius: int = 5,
    bias: float = 1.0,
    alpha: float = 1.0,
    beta: float = 0.5,
    name: str | None = None,
) -> tf.Tensor:
    """Values x / (bias + alpha s)^beta, with s the sum of squares over channels at most `depth_radius` apart."""
    x = tf.convert_to_tensor(input)
    with tf.name_scope(name or "LRN"):
        padded = tf.pad(tf.square(x), [[0, 0]] * 3 + [[depth_radius, depth_radius]])
        channels = tf.shape(x)[3]
        total = tf.add_n([padded[..., first : first + channels] for first in range(2 * depth_radius + 1)])
        return x * tf.pow(bias + alpha * total, -beta)


def _right_max_pool_with_argmax(
    input: tf.Tensor,
    ksize: int | list[int],
    strides: int | list[int],
    padding: str,
    data_format: str = "NHWC",
    output_dtype: tf.DType = tf.int64,
    include_batch_in_index: bool = False,
    name: str | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Pooling of images (B, H, W, C) that tells where each maximum was: the pixels are taken from there."""
    x = tf.convert_to_tensor(input)
    _, found = _max_pool_with_argmax(
        tf.stop_gradient(x), ksize, strides, padding, data_format, tf.int64, include_batch_in_index=True, name=name
    )
    pooled = tf.gather(tf.reshape(x, [-1]), found)
    if not include_batch_in_index:
        shape = tf.shape(x, out_type=tf.int64)
        found -= tf.reshape(tf.range(shape[0]) * tf.reduce_prod(shape[1:]), [-1, 1, 1, 1])
    return pooled, tf.cast(found, output_dtype)


def _traced_anew(function: Any, *arguments: Any, **keywords: Any) -> Any:
    """Call a `tf.function` of the user's as if for the first time: what it was traced to holds TensorFlow's moments."""
    python = function.python_function
    if (getattr(python, "__module__", None) or "").split(".")[0] in ("keras", "tensorflow"):
        return _call_function(function, *arguments, **keywords)  # Keras' own, such as of grouped convolution, are right
    anew = tf.function(python, autograph=function._autograph, jit_compile=function._jit_compile)
    return _call_function(anew, *arguments, **keywords)


def _with_batch_statistics(
    layer: keras.layers.BatchNormalization,
    inputs: tf.Tensor,
    training: bool | None = None,
    mask: tf.Tensor | None = None,
) -> tf.Tensor:
    """Batch normalisation as in training; what it assigns to its moving statistics is dropped with the scope."""
    with keras.StatelessScope():
        return _batch_normalization(layer, inputs, training=True, mask=mask)


def _without_cudnn(
    layer: keras.layers.LSTM | keras.layers.GRU,
    sequences: tf.Tensor,
    initial_state: list[tf.Tensor],
    mask: tf.Tensor | list[tf.Tensor] | None,
    training: bool = False,
) -> tuple[tf.Tensor, ...]:
    """An LSTM or GRU step by step, as Keras computes it without a GPU, and with `use_cudnn=False` on one."""
    mask = mask[0] if isinstance(mask, list | tuple) else mask
    return keras.layers.RNN.inner_loop(layer, sequences, initial_state, mask=mask, training=training)


def _from_its_state(
    layer: keras.layers.RNN,
    sequences: tf.Tensor,
    initial_state: list[tf.Tensor] | None = None,
    mask: tf.Tensor | None = None,
    training: bool = False,
) -> Any:
    """A recurrent layer that leaves the state alone which a `stateful` one hands from batch to batch."""
    with nothing_assigned() if layer.stateful else nullcontext():
        return _recurrent(layer, sequences, initial_state=initial_state, mask=mask, training=training)


_RIGHT = (
    Substitution(nn_impl, "moments", _moments),
    Substitution(tf.nn, "softsign", _right_softsign),
    *ACCURATE,
    *(Substitution(gen_image_ops, kind, _right_resize(kind)) for kind in _resize),
    Substitution(gen_image_ops, "scale_and_translate", _right_scale),
    Substitution(tf.nn, "local_response_normalization", _right_local_response_normalization),
    Substitution(tf.nn, "lrn", _right_local_response_normalization),
    Substitution(tf.nn, "max_pool_with_argmax", _right_max_pool_with_argmax),
    Substitution(tf.nn, "ctc_loss", right_ctc_loss),
    Substitution(tf.compat.v1.nn, "ctc_loss", right_ctc_loss_of_version_1),
    *(Substitution(layer, "inner_loop", _without_cudnn) for layer in (keras.layers.LSTM, keras.layers.GRU)),
    Substitution(keras.layers.RNN, "call", _from_its_state),
    Substitution(_Function, "__call__", _traced_anew),
)

_WITH_BATCH_STATISTICS = (Substitution(keras.layers.BatchNormalization, "call", _with_batch_statistics),)
