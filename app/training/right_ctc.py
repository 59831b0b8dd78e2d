"""The connectionist temporal classification loss as operations that can be differentiated as often as needed.

TensorFlow computes the loss and its gradient by loops that have no derivative: a second one fails when it is run. Here
it is the forward recursion alone (Graves et al. 2006, Sec. 4.1), in logarithms, of which every derivative is right.
"""

from __future__ import annotations

import tensorflow as tf

_NEVER = -1e30
"""The logarithm of a probability of zero; finite, as derivatives of infinity are NaN. Its sums fit in float32."""


def right_ctc_loss(
    labels: tf.Tensor | tf.SparseTensor,
    logits: tf.Tensor,
    label_length: tf.Tensor | None,
    logit_length: tf.Tensor,
    logits_time_major: bool = True,
    unique: tuple[tf.Tensor, tf.Tensor] | None = None,
    blank_index: int | None = None,
    name: str | None = None,
) -> tf.Tensor:
    """`tf.nn.ctc_loss`: minus the logarithm of the probability of labels, for each example.

    Args:
        labels: Class numbers (B, L), of which the first `label_length` count; or sparse ones.
        logits: Shape (T, B, K), or (B, T, K) if not `logits_time_major`.
        label_length: Shape (B,); None for sparse labels.
        logit_length: Number of steps that count, shape (B,).
        logits_time_major: Which of the two shapes logits have.
        unique: Has no effect: it makes TensorFlow's way faster.
        blank_index: The class that stands for no label; negative counts from the end. None: the first, and the last
            for sparse labels.
        name: Of the operations.

    Returns:
        Shape (B,); infinite where the labels need more steps than there are.
    """
    with tf.name_scope(name or "ctc_loss"):
        logits = tf.convert_to_tensor(logits)
        exact = tf.cast(logits, tf.float32) if logits.dtype in (tf.float16, tf.bfloat16) else logits
        if not logits_time_major:
            exact = tf.transpose(exact, [1, 0, 2])
        if isinstance(labels, tf.SparseTensor):
            blank_index = -1 if blank_index is None else blank_index
            label_length = tf.math.bincount(tf.cast(labels.indices[:, 0], tf.int32), minlength=tf.shape(exact)[1])
            labels = tf.sparse.to_dense(labels)
        classes = tf.shape(exact)[2]
        blank = tf.math.floormod(0 if blank_index is None else blank_index, classes)
        lengths = tf.cast(label_length, tf.int32), tf.cast(logit_length, tf.int32)
        return tf.cast(_loss(tf.cast(labels, tf.int32), exact, *lengths, blank), logits.dtype)


def right_ctc_loss_of_version_1(
    labels: tf.SparseTensor,
    inputs: tf.Tensor | None = None,
    sequence_length: tf.Tensor | None = None,
    preprocess_collapse_repeated: bool = False,
    ctc_merge_repeated: bool = True,
    ignore_longer_outputs_than_inputs: bool = False,
    time_major: bool = True,
    logits: tf.Tensor | None = None,
) -> tf.Tensor:
    """`tf.compat.v1.nn.ctc_loss`, of sparse labels, whose last class stands for no label.

    Args:
        labels: Class numbers, of dense shape (B, L).
        inputs: Logits (T, B, K), or (B, T, K) if not `time_major`.
        sequence_length: Number of steps that count, shape (B,).
        preprocess_collapse_repeated: Not known here: must be False.
        ctc_merge_repeated: Likewise, must be True.
        ignore_longer_outputs_than_inputs: Whether examples whose labels need more steps than there are count as 0.
        time_major: Which of the two shapes logits have.
        logits: Another name of `inputs`.

    Returns:
        Shape (B,).

    Raises:
        NotImplementedError: For another loss than connectionist temporal classification proper.
    """
    if preprocess_collapse_repeated or not ctc_merge_repeated:
        raise NotImplementedError("of ctc_loss with collapsed labels or repeated ones that are not merged")
    scores = inputs if logits is None else logits
    loss = right_ctc_loss(labels, scores, None, sequence_length, time_major, blank_index=-1)
    return tf.where(tf.math.is_inf(loss), tf.zeros_like(loss), loss) if ignore_longer_outputs_than_inputs else loss


def _loss(
    labels: tf.Tensor, logits: tf.Tensor, label_length: tf.Tensor, logit_length: tf.Tensor, blank: tf.Tensor
) -> tf.Tensor:
    """-log sum over alignments of the product of their probabilities; logits (T, B, K), labels (B, L)."""
    between = tf.fill(tf.shape(labels), blank)
    places = tf.reshape(tf.stack([between, labels], axis=2), [tf.shape(labels)[0], -1])
    places = tf.pad(places, [[0, 0], [0, 1]], constant_values=blank)  # blank, label, blank, ..., label, blank
    count = tf.shape(places)[1]
    index = tf.tile(places[None], [tf.shape(logits)[0], 1, 1])
    seen = tf.gather(tf.nn.log_softmax(logits), index, batch_dims=2)  # (T, B, S)
    dtype = seen.dtype
    never = tf.constant(_NEVER, dtype)
    # From the label before the last one only past a blank, and only to another label.
    other = tf.logical_and(places[:, 2:] != blank, places[:, 2:] != places[:, :-2])
    may_skip = tf.concat([tf.zeros_like(places[:, :2], tf.bool), other], axis=1)[:, :count]
    steps = tf.range(1, tf.shape(logits)[0])

    def advanced(before: tf.Tensor, now: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        step, probabilities = now
        one, two = (tf.pad(before, [[0, 0], [k, 0]], constant_values=_NEVER)[:, :count] for k in (1, 2))
        ways = tf.stack([before, one, tf.where(may_skip, two, never)])
        after = tf.maximum(tf.reduce_logsumexp(ways, axis=0) + probabilities, never)
        return tf.where((step < logit_length)[:, None], after, before)

    first = tf.where(tf.range(count) < 2, seen[0], never)
    ends = tf.foldl(advanced, (steps, seen[1:]), initializer=first)
    last = tf.one_hot(2 * label_length, count, True, False, dtype=tf.bool)
    last = tf.logical_or(last, tf.one_hot(2 * label_length - 1, count, True, False, dtype=tf.bool))
    found = tf.reduce_logsumexp(tf.where(last, ends, never), axis=1)
    return tf.where(found > _NEVER / 2, -found, tf.constant(float("inf"), dtype))
