"""Colours are told apart by everybody and on every printer; printed pictures have the width and fonts of papers."""

from itertools import combinations, pairwise

import numpy as np
import pytest
import tables
from matplotlib.colors import to_rgb
from matplotlib.image import imread
from orbits import START, exact_orbit
from pictures import overlapping, regime_figure, saturated, shown_texts

from sharpness_phases.analysis.phases import BOUNDARIES, Phase
from sharpness_phases.analysis.saturation import critical_table
from sharpness_phases.analysis.uv_orbits import onsets, orbit_table, points_table
from sharpness_phases.views.bifurcation import BifurcationFigure
from sharpness_phases.views.diagram import PhaseDiagram
from sharpness_phases.views.grey import grey_of
from sharpness_phases.views.regimes import REGIME_FILLS
from sharpness_phases.views.saturation import SaturationDiagram, SaturationFigure
from sharpness_phases.views.style import CONSTANT_COLORS, CONSTANT_MARKERS, PHASE_FILLS, STYLES, house_style
from sharpness_phases.views.trajectories import TrajectoryFigure

# Machado, Oliveira & Fernandes, "A physiologically-based model for simulation of color vision deficiency", IEEE Trans.
# Vis. Comput. Graph. 15 (2009), Table 1 at severity 1: what is seen instead of linear red, green and blue.
SIGHTS = {
    "usual": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
    "grey": np.tile([0.2126, 0.7152, 0.0722], (3, 1)),
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])  # of sRGB, IEC 61966-2-1


def lab(color, sight):
    """CIELAB coordinates (CIE 1976, white D65) of a colour as somebody sees it."""
    rgb = np.array(to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(SIGHTS[sight]) @ linear, 0, 1)
    t = XYZ @ seen / XYZ.sum(axis=1)
    x, y, z = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def distance(one, other, sight):
    return float(np.linalg.norm(lab(one, sight) - lab(other, sight)))


def test_the_coordinates_are_those_of_the_standard():
    np.testing.assert_allclose(lab("#ffffff", "usual"), [100, 0, 0], atol=0.02)
    np.testing.assert_allclose(lab("#ff0000", "usual"), [53.24, 80.09, 67.20], atol=0.05)
    np.testing.assert_allclose(lab("#ff0000", "grey"), [53.24, 0, 0], atol=0.05)


def test_red_and_green_of_one_lightness_are_found_to_be_alike_for_some():
    assert distance("#c80000", "#00791b", "usual") > 100
    assert distance("#a85a00", "#6a7d00", "deuteranopia") < 15


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize("fills", [PHASE_FILLS, REGIME_FILLS], ids=["phases", "regimes"])
def test_any_two_fills_are_told_apart(fills, sight):
    enough = 9 if sight == "grey" else 20  # 2.3 is just noticeable side by side
    for one, other in combinations(fills, 2):
        assert distance(fills[one], fills[other], sight) > enough, (one, other)


def test_the_phases_are_darker_and_darker():
    lightness = [lab(color, "grey")[0] for color in PHASE_FILLS.values()]
    assert all(left > right + 9 for left, right in pairwise(lightness))


@pytest.mark.parametrize("sight", SIGHTS)
def test_any_two_constants_are_told_apart_by_colour_and_by_marker(sight):
    enough = 8 if sight == "grey" else 16
    for one, other in combinations(CONSTANT_COLORS, 2):
        assert distance(CONSTANT_COLORS[one], CONSTANT_COLORS[other], sight) > enough, (one, other)
    assert len(set(CONSTANT_MARKERS.values())) == len(CONSTANT_COLORS)


@pytest.mark.parametrize("sight", SIGHTS)
def test_boundaries_stand_out_from_the_phases_on_both_sides(sight):
    reduction, loss, sharpening, both, divergent = Phase
    sides = {"c_loss": (reduction, loss, sharpening, both), "c_sharp": (reduction, loss, sharpening, both)}
    sides["c_max"] = (loss, sharpening, both, divergent)
    for name, phase in [(constant, phase) for constant in BOUNDARIES for phase in sides[constant]]:
        # c_loss meets the darker fill only where it lies above c_sharp, and there, too, is far beyond just noticeable.
        enough = 20 if (name, phase) == ("c_loss", both) else 30
        assert distance(CONSTANT_COLORS[name], PHASE_FILLS[phase], sight) > enough, (name, phase)


@pytest.mark.parametrize("color", ["#1d6bb9", "#f2d36f", "#000000", "#ffffff"])
def test_a_grey_is_as_light_as_its_colour(color):
    [grey] = grey_of(color)
    assert grey[0] == grey[1] == grey[2]
    assert lab(grey[:3], "usual")[0] == pytest.approx(lab(color, "grey")[0], abs=0.05)


PICTURES = {
    "diagram": lambda: PhaseDiagram(tables.summary(), "made up"),
    "trajectories": lambda: TrajectoryFigure(tables.trajectories(depths=(2,), seeds=1), title="made up"),
    "saturation": lambda: SaturationFigure(SATURATED, critical_table(SATURATED), "made up"),
    "saturation_diagram": lambda: SaturationDiagram(SATURATED, tables.summary(widths=(8, 16)), "made up"),
    "regimes": lambda: regime_figure("c = 4", "c = 8", "c = 12"),
    "bifurcation": lambda: BifurcationFigure(points_table(ORBITS), ORBIT_TABLE, onsets(ORBIT_TABLE), "made up"),
}
SATURATED = saturated([(2, 8), (2, 16), (4, 8)])
ORBITS = [exact_orbit(g) for g in (0.9, 1.1, 1.26, 1.31, 1.5, 1.9, 2.05)]
ORBIT_TABLE = orbit_table(ORBITS, START)


@pytest.mark.parametrize("style", ["paper", pytest.param("wide", marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", PICTURES)
def test_printed_pictures_have_the_width_of_columns_and_fonts_of_7_to_9_points_that_do_not_overlap(kind, style):
    with house_style(STYLES[style]):
        figure = PICTURES[kind]().draw()
        assert figure.get_figwidth() == {"paper": 3.3, "wide": 6.75}[style]
        assert figure.get_figheight() < 11
        texts = shown_texts(figure)
        assert {7 <= text.get_fontsize() <= 9 for text in texts} == {True}
        for text in texts:
            box = text.get_window_extent()
            assert -1 <= box.x0 <= box.x1 <= figure.bbox.width + 1, text.get_text()
        assert overlapping(figure) == []


def test_what_is_printed_is_saved_at_300_dots_an_inch_and_exactly_as_wide(tmp_path):
    saved = PhaseDiagram(tables.summary()).save(tmp_path / "d.png", STYLES["paper"])
    head = saved.read_bytes()[:2000]
    assert int.from_bytes(head[16:20], "big") == 990
    at = head.index(b"pHYs")
    assert int.from_bytes(head[at + 4 : at + 8], "big") == round(300 / 0.0254)


@pytest.mark.parametrize("ending", ["png", "svg", pytest.param("pdf", marks=pytest.mark.slow)])
def test_equal_data_give_equal_files_in_every_style(ending, tmp_path):
    picture = PhaseDiagram(tables.summary(depths=(2,)))
    for style in ("paper", "grey"):
        one, two = (picture.save(tmp_path / f"{i}.{ending}", STYLES[style]).read_bytes() for i in range(2))
        assert one == two


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=() if kind == "diagram" else pytest.mark.slow) for kind in PICTURES]
)
def test_a_grey_picture_has_no_colour_where_the_other_has(kind, tmp_path):
    colours = []
    for style in ("grey", "paper"):
        pixels = imread(PICTURES[kind]().save(tmp_path / f"{style}.png", STYLES[style]))[..., :3]
        colours.append(float(np.ptp(pixels, axis=-1).max()))
    assert colours[0] < 0.02 < 0.2 < colours[1]


def test_a_style_ends_with_its_picture(tmp_path):
    picture = PhaseDiagram(tables.summary())
    before = picture.save(tmp_path / "before.svg").read_bytes()
    picture.save(tmp_path / "between.svg", STYLES["grey"])
    assert picture.save(tmp_path / "after.svg").read_bytes() == before
