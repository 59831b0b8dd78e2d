import numpy as np
import pytest
import tables
from pictures import overlapping

from sharpness_phases.analysis.phases import Phase, classify
from sharpness_phases.views.diagram import ComparisonSheet, Over, PhaseDiagram
from sharpness_phases.views.style import CONSTANT_MARKERS, STYLES, house_style


def texts(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_panel_for_every_depth_with_one_over_width_upwards():
    figure = PhaseDiagram(tables.summary(), "made up").draw()
    assert [ax.get_title() for ax in figure.axes] == ["depth 2", "depth 4"]
    ax = figure.axes[0]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert [t.get_text() for t in ax.get_yticklabels()] == ["1/32", "1/16", "1/8"]
    bottom, top = ax.get_ylim()
    assert bottom < 1 / 32 < 1 / 8 < top


def test_large_widths_are_written_out():
    ax = PhaseDiagram(tables.summary(depths=(2,), widths=(16, 1024, 16384))).draw().axes[0]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["1/16384", "1/1024", "1/16"]


def test_one_width_and_several_depths_give_one_panel_over_depth():
    figure = PhaseDiagram(tables.summary(widths=(8,))).draw()
    assert [ax.get_title() for ax in figure.axes] == ["width 8"]
    assert figure.axes[0].get_ylabel() == "depth"


def test_over_depth_there_is_a_panel_for_every_width():
    figure = PhaseDiagram(tables.summary(), over=Over.DEPTH).draw()
    assert [ax.get_title() for ax in figure.axes] == ["width 8", "width 16", "width 32"]
    assert all(ax.get_ylabel() == "depth" for ax in figure.axes)


def test_over_depth_by_width_all_networks_share_a_panel():
    summary = tables.summary()
    ax = PhaseDiagram(summary, over=Over.RATIO).draw().axes[0]
    known = summary[summary["constant"] == "c_max"]
    heights = [float(line.get_ydata()[0]) for line in ax.lines if line.get_marker() == "^"]
    assert sorted(heights) == pytest.approx(sorted(known["depth"] / known["width"]))
    assert [label.get_text() for label in ax.get_yticklabels()] == ["1/16", "1/8", "1/4", "1/2"]


def test_networks_that_share_a_place_over_depth_by_width_are_told_apart_by_the_size_of_their_markers():
    figure = PhaseDiagram(tables.summary(), over=Over.RATIO).draw()
    sizes = {}
    for line in marker_of(figure.axes[0], "c_max"):
        sizes.setdefault(float(line.get_ydata()[0]), []).append(line.get_markersize())
    assert [len(set(at)) for _, at in sorted(sizes.items())] == [1, 2, 2, 1]
    assert all(at == sorted(at, reverse=True) for at in sizes.values())  # the largest lie below
    assert {"depth 2", "depth 4"} <= set(texts(figure))


@pytest.mark.parametrize("style", ["screen", "paper"])
@pytest.mark.parametrize(
    ("depths", "widths"),
    [((4, 8), (64, 128, 256)), ((4, 8, 16), (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768))],
)
def test_every_network_has_its_tick_over_depth_by_width_and_no_labels_overlap(depths, widths, style):
    summary = tables.summary(depths=depths, widths=widths, seeds=1)
    with house_style(STYLES[style]):
        figure = PhaseDiagram(summary, "made up", over=Over.RATIO).draw()
        ax = figure.axes[0]
        assert list(ax.get_yticks()) == sorted({d / w for d in depths for w in widths})
        assert all(label.get_text() for label in ax.get_yticklabels())
        assert overlapping(figure) == []
        low, high = ax.get_ylim()
        assert low * 1.05 < min(ax.get_yticks()) < max(ax.get_yticks()) < high / 1.05  # no marker lies on the frame


def test_of_networks_that_are_too_near_for_two_labels_one_keeps_its_tick_alone():
    ax = PhaseDiagram(tables.summary(depths=(2,), widths=(16, 500, 512), seeds=1)).draw().axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["1/512", "", "1/16"]


@pytest.mark.slow
def test_nothing_that_is_printed_is_taller_than_a_page():
    summary = tables.summary(depths=(2, 4, 8, 16), widths=(8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512), seeds=1)
    for over in (Over.WIDTH, Over.DEPTH):
        with house_style(STYLES["paper"]):
            figure = PhaseDiagram(summary, "made up", over=over).draw()
            assert figure.get_figheight() <= 9
            assert overlapping(figure) == []


def test_a_long_title_is_broken_into_lines_that_fit_its_column():
    title = "FCN with layer normalization, ReLU, cross-entropy on Fashion-MNIST, 4096 images, SGD, momentum 0.9"
    with house_style(STYLES["paper"]):
        figure = PhaseDiagram(tables.summary(depths=(2,), seeds=1), title).draw()
        assert figure.get_suptitle().replace("\n", " ") == title
        box = figure._suptitle.get_window_extent()
        assert 0 < box.x0 < box.x1 < figure.bbox.width
        assert overlapping(figure) == []


def test_a_known_barrier_has_markers_and_a_place_in_the_legend():
    summary = tables.summary(depths=(2,))
    before = len(texts(PhaseDiagram(summary).draw()))
    row = summary["constant"] == "c_barrier"
    summary.loc[row, ["boundary", "boundary_q25", "boundary_q75", "n"]] = [3.0, 2.9, 3.1, 3]
    figure = PhaseDiagram(summary).draw()
    markers = [line for line in figure.axes[0].lines if line.get_marker() == "D"]
    assert [float(line.get_xdata()[0]) for line in markers] == [3.0] * 3
    assert len(texts(figure)) >= before
    assert any("barrier" in text for text in texts(figure))
    assert overlapping(figure) == []


def test_a_comparison_sheet_has_a_panel_for_every_experiment_on_one_range_of_c():
    wide, narrow = tables.summary(), tables.summary(widths=(8,))
    narrow[["boundary", "boundary_q25", "boundary_q75"]] *= 4
    figure = ComparisonSheet([("one", wide), ("other", narrow)]).draw()
    assert [ax.get_title() for ax in figure.axes] == ["one", "other"]
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()
    over_width = ComparisonSheet([("one", wide), ("other", narrow)], Over.WIDTH).draw()
    titles = ["one, depth 2", "one, depth 4", "other, depth 2", "other, depth 4"]
    assert [ax.get_title() for ax in over_width.axes] == titles


def test_a_comparison_of_nothing_is_refused():
    for summaries in ([], [("empty", tables.summary().iloc[:0])]):
        with pytest.raises(ValueError, match="A comparison needs experiments"):
            ComparisonSheet(summaries)


def test_markers_stand_at_the_boundaries_and_bars_reach_the_quartiles():
    summary = tables.summary(depths=(2,))
    ax = PhaseDiagram(summary).draw().axes[0]
    points = [line for line in ax.lines if line.get_marker() not in ("None", "") and len(line.get_xdata()) == 1]
    drawn = sorted((float(p.get_ydata()[0]), float(p.get_xdata()[0])) for p in points)
    known = summary[summary["constant"].isin(["c_loss", "c_sharp", "c_max"])]
    expected = sorted(zip(1 / known["width"], known["boundary"], strict=True))
    np.testing.assert_allclose(drawn, expected)
    bars = [tuple(line.get_xdata()) for line in ax.lines if len(line.get_xdata()) == 2]
    for row in known.itertuples():
        assert (row.boundary_q25, row.boundary_q75) in bars


def test_the_fits_pass_through_boundaries_that_lie_on_a_line():
    summary = tables.summary(depths=(2,))
    on_line = (summary["constant"] == "c_loss") & (summary["depth"] == 2)
    summary.loc[on_line, "boundary"] = 2.0 * (8 / summary.loc[on_line, "width"]) ** -0.5
    fit = PhaseDiagram(summary).boundaries().set_index("constant").loc["c_loss"]
    # log2 c = 1 + 0.5 (log2 w - 3) with z = -log2 w
    assert [fit["a0"], fit["a1"], fit["a2"]] == pytest.approx([-0.5, -0.5, 0.0], abs=1e-9)


def test_the_phases_are_filled_from_left_to_right_and_c_equal_2_is_marked():
    ax = PhaseDiagram(tables.summary(depths=(2,))).draw().axes[0]
    assert len(ax.collections) == len(Phase)
    lefts = [c.get_paths()[0].vertices[:, 0].min() for c in ax.collections]
    assert lefts == sorted(lefts)
    assert any(list(line.get_xdata()) == [2.0, 2.0] and line.get_linestyle() == "--" for line in ax.lines)


def test_the_legend_names_every_phase_and_constant():
    legend = texts(PhaseDiagram(tables.summary()).draw())
    assert {str(phase) for phase in Phase} | {"quartiles", "censored", "smooth fit"} <= set(legend)
    assert any("loss" in text for text in legend if "$" in text)
    assert "$c = 2$" in legend


def marker_of(ax, name):
    """The lines of the markers of a constant."""
    return [line for line in ax.lines if line.get_marker() == CONSTANT_MARKERS[name] and len(line.get_xdata()) == 1]


@pytest.mark.parametrize(("place", "end"), [(0.0, 0), (np.inf, 1)])
def test_a_censored_boundary_is_a_hollow_marker_at_that_end_of_the_range_with_an_arrow(place, end):
    summary = tables.summary(depths=(2,))
    row = (summary["constant"] == "c_sharp") & (summary["width"] == 8)
    summary.loc[row, ["boundary", "boundary_q25", "boundary_q75"]] = place
    ax = PhaseDiagram(summary).draw().axes[0]
    hollow = [line for line in marker_of(ax, "c_sharp") if line.get_markerfacecolor() == "white"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in hollow] == [(ax.get_xlim()[end], 1 / 8)]
    arrows = [text.xy for text in ax.texts if text.arrow_patch is not None]
    assert arrows == [(ax.get_xlim()[end], 1 / 8)]


def test_a_known_boundary_is_a_filled_marker_also_where_some_initialisations_are_censored():
    summary = tables.summary(depths=(2,))
    summary.loc[summary["constant"] == "c_sharp", ["n_high", "n_censored"]] = 1
    ax = PhaseDiagram(summary).draw().axes[0]
    assert all(line.get_markerfacecolor() != "white" for line in marker_of(ax, "c_sharp"))


def test_a_bar_ends_at_the_range_where_a_quartile_is_censored():
    summary = tables.summary(depths=(2,), widths=(8,))
    summary.loc[summary["constant"] == "c_max", "boundary_q75"] = np.inf
    ax = PhaseDiagram(summary).draw().axes[0]
    assert max(line.get_xdata()[1] for line in ax.lines if len(line.get_xdata()) == 2) == ax.get_xlim()[1]


def test_a_constant_that_is_censored_everywhere_is_left_out():
    summary = tables.summary(c_sharp=99)
    figure = PhaseDiagram(summary).draw()
    assert "c_sharp" not in set(PhaseDiagram(summary).boundaries()["constant"])
    both = figure.axes[0].collections[list(Phase).index(Phase.LOSS_AND_SHARPNESS_CATAPULT)]
    at_height = {}
    for c, height in both.get_paths()[0].vertices:
        at_height.setdefault(height, set()).add(c)
    assert {len(cs) for cs in at_height.values()} == {1}  # no room between c_sharp, which is nowhere, and c_max


def test_a_single_network_can_be_drawn():
    figure = PhaseDiagram(tables.summary(depths=(2,), widths=(8,), seeds=1)).draw()
    assert len(figure.axes) == 1


@pytest.mark.parametrize("shape", [{}, {"depths": (2,)}, {"depths": (2, 3, 4, 5)}, {"widths": (8,)}])
def test_no_texts_overlap(shape):
    assert overlapping(PhaseDiagram(tables.summary(**shape), "FCN, ReLU, MSE on made-up data").draw()) == []


@pytest.mark.parametrize("ending", ["png", "svg", pytest.param("pdf", marks=pytest.mark.slow)])
def test_it_is_saved_in_the_format_of_the_ending_and_equal_data_give_equal_files(ending, tmp_path):
    one, two = (PhaseDiagram(tables.summary()).save(tmp_path / f"{i}" / f"d.{ending}") for i in range(2))
    assert one.stat().st_size > 5000
    assert one.read_bytes() == two.read_bytes()


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="at least one network"):
        PhaseDiagram(tables.summary().iloc[:0])


def filled_phase(ax, c, height):
    """The phase whose area holds a point."""
    (phase,) = (
        phase
        for phase, area in zip(Phase, ax.collections, strict=True)
        if area.get_paths()[0].contains_point((c, height))
    )
    return phase


def one_network(c_loss, c_sharp, c_max, width=8):
    """The summary of one network with these constants."""
    table = tables.summary(depths=(2,), widths=(width,))
    for name, value in (("c_loss", c_loss), ("c_sharp", c_sharp), ("c_max", c_max)):
        table.loc[table["constant"] == name, ["boundary", "boundary_q25", "boundary_q75"]] = value
    return table


@pytest.mark.parametrize(
    "constants", [(3.0, 5.0, 9.0), (7.0, 4.0, 9.0), (3.0, 12.0, 9.0), (12.0, 5.0, 9.0), (12.0, 10.0, 7.0)]
)
def test_the_filled_phases_are_those_of_the_classification_whatever_the_order_of_the_constants(constants):
    ax = PhaseDiagram(one_network(*constants)).draw().axes[0]
    low, high = ax.get_xlim()
    chosen = [c for c in (2.5, 3.5, 4.5, 6.0, 8.0, 10.0) if low < c < high]
    assert [filled_phase(ax, c, 1 / 8) for c in chosen] == [classify(c, *constants) for c in chosen]
