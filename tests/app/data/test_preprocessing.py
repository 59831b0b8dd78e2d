import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharpness_phases.data.preprocessing import (
    balanced_subset,
    batch_indices,
    measurement_indices,
    one_hot,
    prepare,
    standardize,
)


def test_every_example_is_standardized_on_its_own():
    images = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 3)).astype(np.uint8)
    x = standardize(images)
    assert x.dtype == np.float32
    np.testing.assert_allclose(x.mean(axis=(1, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(x.std(axis=(1, 2, 3)), 1, rtol=1e-5)


def test_an_image_of_one_colour_gives_zeros():
    assert not standardize(np.full((1, 4, 4, 1), 7, np.uint8)).any()


def test_labels_become_one_hot_targets():
    np.testing.assert_array_equal(one_hot(np.array([2, 0]), 3), [[0, 0, 1], [1, 0, 0]])


@given(st.integers(1, 120), st.integers(0, 10))
def test_a_subset_is_class_balanced_and_has_no_repetitions(count, seed):
    labels = np.repeat(np.arange(4), 30)
    chosen = balanced_subset(labels, count, seed)
    assert len(set(chosen)) == count
    sizes = np.bincount(labels[chosen], minlength=4)
    assert sizes.max() - sizes.min() <= 1


def test_a_class_with_too_few_examples_is_made_up_for():
    labels = np.array([0] * 2 + [1] * 50)
    assert np.bincount(labels[balanced_subset(labels, 20, 0)]).tolist() == [2, 18]


def test_a_subset_larger_than_the_data_is_refused():
    with pytest.raises(ValueError, match=r"5 .* 4 examples"):
        balanced_subset(np.zeros(4, int), 5, 0)


def test_the_measurement_set_is_fixed_by_its_seed():
    first, same, other = (measurement_indices(100, 20, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert set(first) != set(other)
    assert len(set(first)) == 20


def test_batches_go_through_a_permutation_before_any_example_comes_again():
    batches = batch_indices(100, 25, 8, seed=0)
    assert batches.shape == (8, 25)
    for epoch in (batches[:4], batches[4:]):
        assert sorted(epoch.ravel()) == list(range(100))
    assert batches[0].tolist() != batches[4].tolist()


def test_a_remainder_is_left_out_of_its_epoch():
    batches = batch_indices(10, 4, 5, seed=0)
    assert batches.shape == (5, 4)
    assert len(set(batches[:2].ravel())) == 8


def test_equal_seeds_for_different_purposes_draw_independently():
    assert measurement_indices(100, 100, 0).tolist() != batch_indices(100, 100, 1, 0)[0].tolist()
    assert balanced_subset(np.arange(100) % 2, 20, 0).tolist() != measurement_indices(100, 20, 0).tolist()


def test_the_embedded_images_are_prepared_as_the_config_says():
    whole = prepare()
    assert whole.x.shape == (4096, 28, 28, 1)
    assert whole.y.shape == (4096, 10)
    part = prepare(train_examples=100)
    assert part.x.shape == (100, 28, 28, 1)
    assert part.y.sum(axis=0).tolist() == [10] * 10
