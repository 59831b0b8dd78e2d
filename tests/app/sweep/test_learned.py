"""What a plan learns from stored runs; the times in their folders are written here."""

import math

import pytest
from tiny import TINY

from sharpness_phases.experiment import Experiment
from sharpness_phases.store.times import TIMES_FILE, read_times
from sharpness_phases.sweep.cost import STORED_COUNTS, STORED_TIMES, USUAL_COUNTS, estimate
from sharpness_phases.sweep.learned import learned

PLAIN = [*TINY, "tensorboard=false"]


def experiment(folder, *overrides):
    return Experiment.from_config("quickstart", [*PLAIN, *overrides], folder)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    experiment(folder / "mine").run()
    return folder


@pytest.fixture
def mine(outputs):
    return experiment(outputs / "mine")


def estimates_of(one, stored_in=None):
    config, folder = one.config, stored_in or one.folder
    return estimate(config, stored=learned(config, folder, "a machine"))


def device_of(one):
    return Experiment.open(one.folder).config.environment["device"]


def test_the_time_of_the_same_runs_is_that_of_stored_ones(mine):
    config, taken = mine.config, read_times(mine.folder)
    small, _ = estimate(config, stored=learned(config, mine.folder, device_of(mine)))
    assert small.basis == STORED_TIMES.words
    assert small.seconds == pytest.approx(sum(each.seconds for each in taken if each.width == 8))
    runs = experiment(mine.folder).analyze().runs
    trained = runs[(runs["step"] > 0) & (runs["width"] == 8)]
    assert small.runs == trained["run_id"].nunique()
    assert small.hvps == runs[runs["width"] == 8]["hvps"].sum()


def test_more_initialisations_take_longer_and_building_is_not_multiplied(mine):
    taken = [each for each in read_times(mine.folder) if each.width == 8]
    more = experiment(mine.folder, "sweep.seeds=10", "sweep.widths=[8]").config
    (found,) = estimate(more, stored=learned(more, mine.folder, device_of(mine)))
    first, later = ([each.seconds for each in taken if each.begins == begins][0] for begins in (1, 0))
    assert found.seconds == pytest.approx(first + 9 * later)


def test_of_another_network_or_machine_the_stored_counts_are_taken(mine, outputs):
    ours, _ = estimates_of(mine)  # on "a machine", which is not where they were made
    other = experiment(outputs / "other", "sweep.widths=[9]")
    (beside,) = estimates_of(other)
    assert ours.basis == beside.basis == STORED_COUNTS.words
    assert beside.hvps == ours.hvps


def test_other_searches_tell_nothing(outputs):
    (found,) = estimates_of(experiment(outputs / "other", "loss=xent", "sweep.widths=[8]"))
    assert found.basis == USUAL_COUNTS.words
    assert found.low < found.seconds < found.high


def test_initialisations_that_were_not_carried_out_in_one_go_are_left_out(mine):
    path = mine.folder / TIMES_FILE
    before = path.read_text()
    try:
        path.write_text("\n".join(line for line in before.splitlines() if line.startswith(("depth", "2,8,0"))))
        (only,) = [each for each in learned(mine.config, mine.folder, device_of(mine))]
        assert (only.width, math.isnan(only.later)) == (8, True)
        path.write_text("2,8,0,1,1,0.5\n")  # one run, of several
        assert learned(mine.config, mine.folder, device_of(mine)) == []
    finally:
        path.write_text(before)
