"""Transformers and vision transformers, held against a transformer written in plain NumPy."""

import math

import keras
import numpy as np
import pytest

from sharpness_phases.models import FCN, Tokens, Transformer, ViT
from sharpness_phases.models.layers import RMSNorm


def normalized(x, name):
    if name == "none":
        return x
    if name == "layer":
        x, epsilon = x - x.mean(-1, keepdims=True), 1e-5
    else:
        epsilon = 1e-6
    return x / np.sqrt(np.mean(x**2, -1, keepdims=True) + epsilon)


def attended(x, w_q, w_k, w_v, heads, scale, causal):
    outputs = np.zeros_like(x)
    size = x.shape[-1] // heads
    for example, out in zip(x, outputs, strict=True):
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            q, k, v = (example @ w[:, part] for w in (w_q, w_k, w_v))
            for t in range(len(example)):
                seen = t + 1 if causal else len(example)
                weights = np.exp(scale * k[:seen] @ q[t])
                out[t, part] = weights @ v[:seen] / weights.sum()
    return outputs


def blocks(x, matrices, factory, causal):
    """Blocks with the gains of normalisations at one and no biases."""
    name, pre = factory.normalization, factory.norm_position == "pre"
    size = factory.width // factory.heads
    scale = 1 / size if factory.parameterization == "mup" else 1 / math.sqrt(size)
    for _ in range(factory.depth):
        w_q, w_k, w_v, w_o, up, down = (next(matrices) for _ in range(6))
        for branch in (
            lambda x, w=(w_q, w_k, w_v, w_o): attended(x, *w[:3], factory.heads, scale, causal) @ w[3],
            lambda x, w=(up, down): np.maximum(x @ w[0], 0) @ w[1],
        ):
            x = x + branch(normalized(x, name)) if pre else normalized(x + branch(x), name)
    return normalized(x, name) if pre else x


def matrices_of(network):
    """All weights but gains and offsets, which are as they were at first."""
    return iter([v.numpy() for v in network.weights if v.name not in ("gamma", "beta")])


SETTINGS = [
    {},
    {"norm_position": "post"},
    {"normalization": "rms", "heads": 1},
    {"normalization": "rms", "norm_position": "post", "parameterization": "mup"},
    {"normalization": "none", "parameterization": "ntk", "heads": 4},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_transformer_computes_what_its_formulas_say(settings):
    factory = Transformer(**{"width": 8, "depth": 2, "heads": 2, "dtype": "float64"} | settings)
    network = factory.build((5,), 7, seed=0)
    tokens = np.random.default_rng(0).integers(7, size=(3, 5))
    matrices, mup = matrices_of(network), factory.parameterization == "mup"
    multiplier = math.sqrt(8) if mup else 1.0
    x = multiplier * (next(matrices)[tokens] + next(matrices))
    if factory.parameterization == "ntk":
        ntk = (m / math.sqrt(len(m)) for m in matrices)
        expected = blocks(x, ntk, factory, causal=True) @ next(ntk)
    else:
        expected = blocks(x, matrices, factory, causal=True) @ next(matrices) / multiplier
    np.testing.assert_allclose(network(tokens), expected, rtol=1e-5, atol=1e-6)  # Keras rounds multipliers to float32


def test_a_vision_transformer_is_the_mean_over_patches_that_all_see_each_other():
    factory = ViT(width=8, depth=1, patch_size=2, heads=2, dtype="float64")
    network = factory.build((4, 6, 3), 5, seed=0)
    images = np.random.default_rng(0).standard_normal((2, 4, 6, 3))
    matrices = matrices_of(network)
    kernel = next(matrices).reshape(-1, 8)
    patches = images.reshape(2, 2, 2, 3, 2, 3).transpose(0, 1, 3, 2, 4, 5).reshape(2, 6, 12)
    x = blocks(patches @ kernel + next(matrices), matrices, factory, causal=False)
    np.testing.assert_allclose(network(images), x.mean(axis=1) @ next(matrices), rtol=1e-6, atol=1e-9)


def test_logits_do_not_see_later_tokens():
    network = Transformer(width=8, depth=2).build((6,), 5, seed=0)
    tokens = np.zeros((1, 6), int)
    changed = tokens.copy()
    changed[0, 4:] = 3
    one, other = (network(x).numpy() for x in (tokens, changed))
    np.testing.assert_allclose(one[0, :4], other[0, :4], rtol=1e-5, atol=1e-6)
    assert np.abs(one[0, 4:] - other[0, 4:]).max() > 0.1


def test_a_class_of_the_whole_example_is_read_at_its_last_token():
    everywhere = Transformer(width=8, depth=1).build((3,), 5, seed=0, tokens=Tokens(6))
    at_the_end = Transformer(width=8, depth=1).build((3,), 5, seed=0, tokens=Tokens(6, everywhere=False))
    x = np.array([[1, 2, 5], [0, 0, 5]])
    np.testing.assert_allclose(at_the_end(x), everywhere(x)[:, -1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "parameterization", ["standard", *(pytest.param(name, marks=pytest.mark.slow) for name in ("ntk", "mup"))]
)
def test_at_any_depth_and_width_the_sum_along_the_identities_keeps_its_size(parameterization):
    tokens = np.random.default_rng(0).integers(50, size=(16, 8))
    sizes = []
    for depth, width in ((1, 64), (8, 64), (1, 256)):
        factory = Transformer(width, depth, normalization="none", parameterization=parameterization)
        out = factory.build((8,), 10, seed=0, tokens=Tokens(50))(tokens).numpy()
        sizes.append(out.std() * (math.sqrt(width) if parameterization == "mup" else 1.0))
    assert max(sizes) < 2 * min(sizes)
    assert 0.7 < sizes[0] < 2


def change_of_outputs(width, parameterization, normalization):
    """How far one step of gradient descent at rate 0.1 moves the logits, root mean square."""
    factory = Transformer(width, 2, normalization=normalization, parameterization=parameterization)
    network = factory.build((8,), 20, seed=0)
    x, y = np.random.default_rng(0).integers(20, size=(2, 16, 8))
    network.compile(
        optimizer=keras.optimizers.SGD(0.1), loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    before = network(x).numpy()
    network.train_on_batch(x, y)
    return float(np.sqrt(np.mean((network(x).numpy() - before) ** 2)))


@pytest.mark.slow
@pytest.mark.parametrize("normalization", ["layer", "rms", "none"])
def test_in_mup_a_step_at_one_rate_moves_the_outputs_alike_at_every_width_and_in_the_standard_one_not(normalization):
    mup, standard = (
        [change_of_outputs(width, name, normalization) for width in (64, 1024)] for name in ("mup", "standard")
    )
    assert 0.6 < mup[1] / mup[0] < 1.6
    assert standard[1] / standard[0] > 3


def test_gains_in_mup_begin_at_one_and_move_by_the_width_times_as_much():
    x = np.random.default_rng(0).standard_normal((4, 9)).astype(np.float32)
    plain, scaled = RMSNorm(), RMSNorm(multiplier=3.0)
    np.testing.assert_allclose(plain(x), scaled(x), rtol=1e-6)
    np.testing.assert_allclose(3.0 * scaled.gamma.numpy(), plain.gamma.numpy(), rtol=1e-6)
    np.testing.assert_allclose(np.mean(np.asarray(plain(x)) ** 2, -1), 1.0, rtol=1e-4)


def test_a_transformer_is_saved_and_loaded(tmp_path):
    network = Transformer(width=8, depth=1, parameterization="mup", normalization="rms").build((4,), 5, seed=0)
    network.save(tmp_path / "network.keras")
    x = np.array([[0, 1, 2, 3]])
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "network.keras")(x), network(x))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Transformer(6, 1), "`width` must be a multiple of the 4 heads. Received: 6"),
        (lambda: Transformer(8, 1, heads=0), "`heads`"),
        (lambda: Transformer(8, 1, norm_position="behind"), "`norm_position` must be one of pre, post"),
        (lambda: Transformer(8, 1, normalization="batch"), "`normalization` must be one of none, layer, rms"),
        (lambda: Transformer(8, 1).build((8, 8, 1), 3, 0), r"transformer needs inputs that are tokens \(length,\)"),
        (lambda: ViT(8, 1, patch_size=5).build((8, 8, 1), 3, 0), "`patch_size` must divide"),
        (lambda: ViT(8, 1, patch_size=0), "`patch_size`"),
        (lambda: FCN(8, 2).build((8,), 3, 0, Tokens(5)), "fcn does not take tokens"),
    ],
)
def test_what_cannot_be_built_is_refused_by_name(build, message):
    with pytest.raises(ValueError, match=message):
        build()
