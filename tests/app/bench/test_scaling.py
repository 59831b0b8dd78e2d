import math

import pytest
from tiny import TINY

from sharpness_phases.bench.scaling import AXES, Point, growth, parse_axes, scale
from sharpness_phases.commands.bench_tables import scaling_table
from sharpness_phases.config.loading import load_config
from sharpness_phases.errors import UserError


def point(value, seconds):
    return Point("width", value, 100, 1.0, seconds, 10, 10**9)


def test_the_exponent_of_growth_is_that_of_the_two_largest_values():
    points = [point(512, 4.0), point(128, 3.0), point(256, 1.0)]
    assert growth(points, "seconds") == pytest.approx(2.0)
    assert growth(points, "memory") == 0.0
    assert math.isnan(growth(points[:1], "seconds"))


@pytest.mark.slow
def test_a_point_costs_the_constants_of_its_network_in_a_process_of_its_own():
    (point,) = scale(load_config("quickstart", TINY), {"width": (8,)})
    assert (point.axis, point.value, point.parameters) == ("width", 8, 784 * 8 + 10 * 8)
    assert point.products > 5
    assert point.seconds > 0
    assert point.memory > 1e8


@pytest.mark.long
def test_every_axis_is_varied():
    config = load_config("quickstart", TINY)
    points = list(scale(config, {"width": (8, 16), "examples": (32,), "initialisations": (2,)}))
    assert [(p.axis, p.value) for p in points] == [
        ("width", 8),
        ("width", 16),
        ("examples", 32),
        ("initialisations", 2),
    ]
    assert [p.parameters for p in points] == [784 * w + 10 * w for w in (8, 16, 8, 8)]
    assert all(p.products > 5 and p.seconds > 0 and p.memory > 1e8 for p in points)
    assert points[3].products > points[0].products
    assert scaling_table(points[:2]).row_count == 3


def test_what_is_varied_is_read_from_the_command_line():
    assert parse_axes([]) == AXES
    assert parse_axes(["width=64,128", "depth=2"]) == {"width": (64, 128), "depth": (2,)}
    for wrong in ("width", "width=", "width=a", "colour=1", "depth=0"):
        with pytest.raises(UserError, match="--over"):
            parse_axes([wrong])


def test_a_wrong_value_is_told_before_anything_is_measured():
    config = load_config("quickstart", TINY)
    with pytest.raises(UserError, match=r"--over examples=8192: sharpness.examples: must be at most 256"):
        next(scale(config, {"width": (8,), "examples": (32, 8192)}))
    myrtle = load_config("laptop/myrtle_mse")
    with pytest.raises(UserError, match=r"--over depth=2: sweep.depths: depths of myrtle must be among"):
        next(scale(myrtle, {"depth": (2,)}))


def test_a_value_given_twice_is_measured_once():
    assert parse_axes(["width=64,64,128"]) == {"width": (64, 128)}
