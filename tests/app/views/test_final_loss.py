"""The map of final losses, of made-up ones."""

import numpy as np
import pandas as pd
import pytest
from pictures import overlapping

from sharpness_phases.views.final_loss import FinalLossMap
from sharpness_phases.views.style import STYLES, house_style

C = 2.0 ** np.arange(6)
KEY = "optimizer.warmup.steps"


def table(widths=(16, 64), values=(0, 8, 64), holes=()):
    """The loss falls with c up to where training diverges, which a longer warm-up moves up by an octave."""
    rows = [
        {
            KEY: value,
            "depth": 2,
            "width": width,
            "seed": seed,
            "c": c,
            "loss_0": 2.0,
            "final_loss": np.inf if c > 4 * 2**rank else (0.9 + 0.01 * seed) / c,
        }
        for rank, value in enumerate(values)
        for width in widths
        for seed in range(3)
        for c in C
        if (value, c) not in holes
    ]
    return pd.DataFrame(rows)


def drawn(**settings):
    return FinalLossMap(table(**settings), KEY, "made up").draw()


def test_every_network_has_a_panel_with_a_row_for_every_value_and_a_dot_at_its_best_c():
    panels = [ax for ax in drawn().axes if ax.get_title()]
    assert [ax.get_title() for ax in panels] == ["depth 2, width 16", "depth 2, width 64"]
    assert panels[0].get_ylabel() == KEY
    assert [text.get_text() for text in panels[0].get_yticklabels()] == ["0", "8", "64"]
    for ax in panels:
        dots = next(line for line in ax.lines if line.get_marker() == "o")
        np.testing.assert_allclose(dots.get_xdata(), [4.0, 8.0, 16.0])
        np.testing.assert_allclose(dots.get_ydata(), [0, 1, 2])


def test_cells_are_medians_of_the_share_of_the_loss_grey_where_training_diverges_white_where_nothing_is_known():
    finite, diverged = drawn(holes={(8, 2.0), (0, 32.0)}).axes[0].collections
    losses, grey = (np.ma.getmaskarray(mesh.get_array().reshape(3, 6)) for mesh in (finite, diverged))
    np.testing.assert_allclose(finite.get_array().reshape(3, 6)[0, :3], 0.91 / 2 / C[:3])
    assert (~losses).tolist() == [
        [True, True, True, False, False, False],
        [True, False, True, True, False, False],
        [True, True, True, True, True, False],
    ]
    assert (~grey).tolist() == [
        [False, False, False, True, True, False],
        [False, False, False, False, True, True],
        [False, False, False, False, False, True],
    ]


def test_all_panels_share_their_colours_up_to_the_largest_loss():
    meshes = [ax.collections[0] for ax in drawn().axes if ax.get_title()]
    assert [(mesh.norm.vmin, mesh.norm.vmax) for mesh in meshes] == [
        (pytest.approx(0.91 / 2 / 16), pytest.approx(0.91 / 2))
    ] * 2


def test_losses_above_that_before_training_have_its_colour():
    rising = table().assign(final_loss=lambda rows: 8 * rows["c"])
    [mesh, _] = FinalLossMap(rising, KEY).draw().axes[0].collections
    assert (mesh.norm.vmin, mesh.norm.vmax) == (pytest.approx(1 / 1.5), 1.0)


def test_losses_that_are_all_infinite_are_drawn_too():
    everywhere = table().assign(final_loss=np.inf)
    assert len(FinalLossMap(everywhere, KEY).draw().axes[0].collections) == 2


def test_without_a_run_there_is_no_map():
    with pytest.raises(ValueError, match="needs runs that were trained to their end"):
        FinalLossMap(table()[:0], KEY)


@pytest.mark.parametrize("style", ["screen", "paper"])
def test_its_texts_do_not_overlap(style):
    with house_style(STYLES[style]):
        assert overlapping(drawn(widths=(16,))) == []
