"""Experiments that share compiled networks find what each finds alone."""

import pandas as pd
import pytest
from kept_networks import kept
from tiny import TINY

from sharpness_phases import Experiment, PhaseAnalyzer

SMALL = [*TINY, "sweep.widths=[8]", "sweep.seeds=1", "tensorboard=false"]


@pytest.mark.slow
def test_what_is_computed_with_a_kept_network_has_the_bits_of_what_a_new_one_gives(tmp_path):
    def runs(name, *overrides):
        Experiment.from_config("quickstart", [*SMALL, *overrides], tmp_path / name).run_shard((1, 1))
        return PhaseAnalyzer.load(tmp_path / name).runs

    alone = runs("alone", "sharpness.examples=32")
    with kept():
        runs("before", "sweep.lr_exponents.stop=8")
        other, again = runs("other", "sharpness.examples=32"), runs("again", "sharpness.examples=32")
    pd.testing.assert_frame_equal(other, alone, check_exact=True)
    pd.testing.assert_frame_equal(again, alone, check_exact=True)
