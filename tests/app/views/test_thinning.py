import tables

from sharpness_phases.views.thinning import few_steps, first_initialisations


def test_of_a_short_run_every_step_is_chosen_and_of_a_long_one_at_most_as_many_as_asked_for_with_both_ends():
    assert list(few_steps(4, 5)) == [0, 1, 2, 3, 4]
    chosen = list(few_steps(5000, 40))
    assert len(chosen) <= 40
    assert chosen[:3] == [0, 1, 2]
    assert chosen[-1] == 5000
    assert list(few_steps(5000, 2)) == [0, 5000]


def test_the_first_initialisations_of_all_networks_are_chosen_while_there_is_room_and_one_always():
    runs = tables.trajectories()
    begins = runs["step"] == 0  # 8 for each initialisation
    chosen = runs[first_initialisations(runs, begins, 8 * 7)]
    assert sorted(set(zip(chosen["seed"], chosen["depth"], chosen["width"], strict=True))) == [
        *((0, depth, width) for depth in (2, 4) for width in (8, 16, 32)),
        (1, 2, 8),
    ]
    alone = runs[first_initialisations(runs, begins, 1)]
    assert set(zip(alone["seed"], alone["depth"], alone["width"], strict=True)) == {(0, 2, 8)}
