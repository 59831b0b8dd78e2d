import numpy as np
import tables

from sharpness_phases.analysis.tables import summary_table
from sharpness_phases.views.by_network import censored_sides, measured_constants, networks, written


def test_networks_come_by_depth_and_width_with_their_constants():
    summary = tables.summary()
    found = list(networks(summary))
    assert [(network.depth, network.width) for network in found] == [(d, w) for d in (2, 4) for w in (8, 16, 32)]
    row = summary.set_index(["depth", "width", "constant"]).loc[(2, 16, "c_loss")]
    c_loss = found[1].constants["c_loss"]
    assert (c_loss.boundary, *c_loss.bar, c_loss.n) == tuple(
        row[name] for name in ("boundary", "boundary_q25", "boundary_q75", "n")
    )
    assert found[1].seeds == 3


def test_censored_initialisations_are_counted_by_side():
    constants = tables.constants(depths=(2,), widths=(8,))
    constants.loc[constants["seed"] == 0, ["c_max", "c_max_censored"]] = (np.nan, "high")
    constants.loc[constants["seed"] == 1, ["c_max", "c_max_censored"]] = (np.nan, "low")
    (network,) = networks(summary_table(constants))
    assert censored_sides(network.constants["c_max"]) == ["1 low", "1 high"]
    assert network.constants["c_max"].n_censored == 2
    assert censored_sides(network.constants["c_loss"]) == []


def test_a_censored_place_is_written_as_its_side():
    assert [written(c) for c in (14.54, 0.0, np.inf, np.nan)] == ["14.5", "low", "high", "-"]


def test_constants_that_were_not_asked_for_are_left_out():
    assert measured_constants(tables.summary()) == ["c_loss", "c_sharp", "c_max"]
