"""What `from sharpness_phases import ...` finds."""

import ast
from pathlib import Path

import pytest

import sharpness_phases


@pytest.mark.parametrize("name", sharpness_phases.__all__)
def test_every_public_name_is_there(name):
    assert getattr(sharpness_phases, name).__name__ == name


def test_a_name_that_there_is_not_is_named():
    with pytest.raises(AttributeError, match="no attribute 'Sharpness'"):
        _ = sharpness_phases.Sharpness


def test_type_checkers_see_the_same_names_from_the_same_modules():
    tree = ast.parse(Path(sharpness_phases.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert sorted(seen) == list(sharpness_phases.__all__)
    assert {name: getattr(sharpness_phases, name).__module__ for name in seen} == seen
