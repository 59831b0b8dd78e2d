"""Metric learning, self-supervision, distillation: losses of several views, and of one's own."""

import keras
from catalogue.architecture import Problem, architecture, images, labels, numbers, one_hot, own
from keras import layers, ops


def embedding(width=6):
    return keras.Sequential(
        [
            keras.Input((12, 12, 1)),
            layers.Conv2D(4, 3, activation="tanh"),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(width, activation="tanh"),
        ]
    )


@architecture()
def siamese_network_with_contrastive_loss():
    def distance(pair):
        squares = ops.sum(ops.square(pair[0] - pair[1]), axis=1, keepdims=True)
        return ops.sqrt(ops.maximum(squares, keras.config.epsilon()))

    def contrastive(y_true, y_pred):
        return ops.mean((1 - y_true) * ops.square(y_pred) + y_true * ops.square(ops.maximum(1 - y_pred, 0)))

    one, two = keras.Input((12, 12, 1)), keras.Input((12, 12, 1))
    network = embedding()
    merged = layers.BatchNormalization()(layers.Lambda(distance, output_shape=(1,))([network(one), network(two)]))
    outputs = layers.Dense(1, activation="sigmoid")(merged)
    data = [images(12, 1), numbers(6, 12, 12, 1, seed=4)]
    return Problem(keras.Model([one, two], outputs), data, labels(2, 1).astype("float32"), contrastive)


@own
class Triplets(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.embed = embedding()

    def call(self, inputs):
        a, p, n = (self.embed(each) for each in inputs)
        return ops.sum(ops.square(a - p), -1), ops.sum(ops.square(a - n), -1)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(ops.maximum(y_pred[0] - y_pred[1] + 0.5, 0.0))


@architecture()
def triplet_loss():
    return Problem(Triplets(), tuple(numbers(6, 12, 12, 1, seed=i) for i in range(3)), None)


@own
class MetricLearning(keras.Model):
    """Anchors and positives of each class: every other class is a negative."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        anchors, positives = y_pred
        similar = ops.einsum("ae,pe->ap", anchors, positives) / 0.2
        return ops.mean(keras.losses.sparse_categorical_crossentropy(ops.arange(6), similar, from_logits=True))


@architecture()
def metric_learning_by_similarity():
    one, two = keras.Input((12, 12, 1)), keras.Input((12, 12, 1))
    network = embedding()
    found = [ops.normalize(network(each), axis=-1) for each in (one, two)]
    return Problem(MetricLearning([one, two], found), [images(12, 1), numbers(6, 12, 12, 1, seed=4)], None)


@architecture()
def supervised_contrastive_learning():
    def loss(y_true, features):
        unit = ops.normalize(features, axis=1)
        logits = ops.matmul(unit, ops.transpose(unit)) / 0.1
        y = ops.reshape(y_true, (-1, 1))
        same = ops.cast(ops.equal(y, ops.transpose(y)), logits.dtype)
        same = same / ops.sum(same, axis=1, keepdims=True)
        return ops.mean(-ops.sum(same * ops.log_softmax(logits, axis=1), axis=1))

    network = embedding()
    network.add(layers.Dense(4, activation="relu"))
    return Problem(network, images(12, 1), labels(3), loss)


@own
class BarlowTwins(keras.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        a, b = ((z - ops.mean(z, axis=0)) / (ops.std(z, axis=0) + 1e-3) for z in y_pred)
        correlation = ops.matmul(ops.transpose(a), b) / 6
        return ops.sum(ops.square(correlation - ops.eye(6, dtype=a.dtype)) * (0.05 + 0.95 * ops.eye(6, dtype=a.dtype)))


@architecture()
def barlow_twins():
    one, two = keras.Input((12, 12, 1)), keras.Input((12, 12, 1))
    network = embedding()
    return Problem(
        BarlowTwins([one, two], [network(one), network(two)]), [images(12, 1), numbers(6, 12, 12, 1, seed=4)], None
    )


@own
class SimSiam(keras.Model):
    """Each view predicts the other, whose gradient is stopped: its loss has a gradient that no loss has."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.embed, self.predictor = embedding(), layers.Dense(6)

    def call(self, inputs):
        z1, z2 = (self.embed(each) for each in inputs)
        return self.predictor(z1), self.predictor(z2), ops.stop_gradient(z1), ops.stop_gradient(z2)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        p1, p2, z1, z2 = (ops.normalize(each, axis=1) for each in y_pred)
        return -ops.mean(ops.sum(p1 * z2, axis=1)) / 2 - ops.mean(ops.sum(p2 * z1, axis=1)) / 2


@architecture(refused="stop")
def sim_siam_with_stopped_gradients():
    return Problem(SimSiam(), (images(12, 1), numbers(6, 12, 12, 1, seed=4)), None)


@own
class Distiller(keras.Model):
    """A frozen teacher beside the student."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.student = keras.Sequential([embedding(), layers.Dense(4)])
        self.teacher = keras.Sequential([embedding(8), layers.Dense(4)])
        self.teacher.trainable = False

    def call(self, inputs):
        return self.student(inputs)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        hard = ops.mean(keras.losses.sparse_categorical_crossentropy(y, y_pred, from_logits=True))
        soft = ops.softmax(self.teacher(x, training=False) / 3.0, axis=1)
        divergence = keras.losses.kl_divergence(soft, ops.softmax(y_pred / 3.0, axis=1))
        return 0.1 * hard + 0.9 * 9.0 * ops.mean(divergence)


@architecture()
def knowledge_distillation_with_its_own_loss():
    return Problem(Distiller(), images(12, 1), labels(4))


@own
class StraightThrough(layers.Layer):
    """The nearest code in the place of a vector; gradients pass as if it were the vector."""

    def build(self, shape):
        self.codes = self.add_weight(shape=(shape[-1], 6), initializer="random_uniform")

    def call(self, x):
        flat = ops.reshape(x, (-1, x.shape[-1]))
        apart = ops.sum(flat**2, 1, keepdims=True) + ops.sum(self.codes**2, 0) - 2 * ops.matmul(flat, self.codes)
        chosen = ops.one_hot(ops.argmin(apart, axis=1), 6, dtype=x.dtype)
        quantized = ops.reshape(ops.matmul(chosen, ops.transpose(self.codes)), ops.shape(x))
        self.add_loss(0.25 * ops.mean(ops.square(ops.stop_gradient(quantized) - x)))
        self.add_loss(ops.mean(ops.square(quantized - ops.stop_gradient(x))))
        return x + ops.stop_gradient(quantized - x)


@architecture(refused="stop")
def vector_quantised_autoencoder():
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(3, 1)(layers.Conv2D(4, 3, activation="relu", strides=2, padding="same")(inputs))
    x = layers.Conv2DTranspose(4, 3, activation="relu", strides=2, padding="same")(StraightThrough()(x))
    outputs = layers.Conv2DTranspose(1, 3, padding="same")(x)
    return Problem(keras.Model(inputs, outputs), images(8, 1), images(8, 1), "mse")


@own
class RadianceField(keras.Model):
    """A ray's colour is the sum along it of densities times what still shines through."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden = [layers.Dense(12, activation="relu") for _ in range(3)]
        self.head = layers.Dense(4)

    def call(self, points):
        encoded = [points] + [f(2.0**i * points) for i in range(2) for f in (ops.sin, ops.cos)]
        x = encoded = ops.concatenate(encoded, axis=-1)
        for i, layer in enumerate(self.hidden):
            x = layer(x)
            if i == 1:
                x = ops.concatenate([x, encoded], axis=-1)
        x = self.head(x)
        rgb, sigma = ops.sigmoid(x[..., :-1]), ops.relu(x[..., -1])
        alpha = 1.0 - ops.exp(-sigma * 0.3)
        through = ops.cumprod(1.0 - alpha + 1e-6, axis=-1)
        through = ops.concatenate([ops.ones_like(through[..., :1]), through[..., :-1]], axis=-1)
        return ops.sum((alpha * through)[..., None] * rgb, axis=-2)


@architecture()
def neural_radiance_field():
    return Problem(RadianceField(), numbers(8, 5, 3), 0.5 + 0.1 * numbers(8, 3), "mse")


@own
class ArcMargin(layers.Layer):
    """Cosines to class centres, with a margin added to the angle of the true class."""

    def build(self, shape):
        self.centres = self.add_weight(shape=(shape[0][-1], 4), initializer="glorot_uniform")

    def call(self, inputs):
        features, target = inputs
        cosine = ops.matmul(ops.normalize(features, axis=1), ops.normalize(self.centres, axis=0))
        angle = ops.arccos(ops.clip(cosine, -1.0 + 1e-6, 1.0 - 1e-6))
        return 8.0 * ops.where(target > 0.5, ops.cos(angle + 0.3), cosine)


@architecture()
def angular_margin_for_faces():
    image, target = keras.Input((12, 12, 1)), keras.Input((4,))
    outputs = layers.Softmax()(ArcMargin()([embedding()(image), target]))
    return Problem(
        keras.Model([image, target], outputs), [images(12, 1), one_hot(4)], one_hot(4), "categorical_crossentropy"
    )
