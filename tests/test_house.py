"""The house stays tidy: few files at its root, short functions, and arguments that say what they are."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TREES = {path: ast.parse(path.read_text()) for folder in ("app", "models") for path in (ROOT / folder).rglob("*.py")}
FUNCTIONS = [
    (path, node)
    for path, tree in TREES.items()
    for node in ast.walk(tree)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
]
MOST_LINES = 50
MOST_ANY = 0.05
ROOT_FILES = {
    "__init__.py",
    "__main__.py",
    "analyzer.py",
    "custom_code.py",
    "errors.py",
    "experiment.py",
    "recommend.py",
}


def lines_of_code(path, function):
    """Number of a function's lines that are code: no docstring, comment or empty line."""
    documented = ast.get_docstring(function, clean=False) is not None
    text = range(function.body[0].lineno, function.body[0].end_lineno + 1) if documented else ()
    lines = path.read_text().splitlines()
    numbers = range(function.lineno, function.end_lineno + 1)
    shown = [lines[number - 1].strip() for number in numbers if number not in text]
    return len([line for line in shown if line and not line.startswith("#")])


def arguments(function):
    """The arguments of a function, but for `self` and `cls`."""
    given = function.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
    return [argument for argument in named if argument.arg not in ("self", "cls")]


def says_any(argument):
    """Whether `Any` stands in an argument's annotation, alone or inside."""
    return argument.annotation is not None and any(
        isinstance(part, ast.Name) and part.id == "Any" for part in ast.walk(argument.annotation)
    )


def test_the_root_of_the_package_holds_seven_files():
    assert {path.name for path in (ROOT / "app").glob("*.py")} == ROOT_FILES


def test_no_function_is_longer_than_fits_in_the_head(figure):
    lengths = {f"{path.relative_to(ROOT)}:{node.name}": lines_of_code(path, node) for path, node in FUNCTIONS}
    longest = max(lengths, key=lengths.get)
    figure(f"longest function: {longest}, {lengths[longest]} lines of code")
    assert lengths[longest] <= MOST_LINES


def test_few_arguments_are_of_any_type(figure):
    every = [argument for _, node in FUNCTIONS for argument in arguments(node)]
    share = sum(map(says_any, every)) / len(every)
    figure(f"arguments annotated with Any: {share:.1%} of {len(every)}")
    assert share < MOST_ANY


def public_parts(node):
    """A module or class, and what it defines, inside its classes too, whose name has no underscore in front."""
    yield node
    for inner in ast.iter_child_nodes(node):
        if isinstance(inner, ast.ClassDef) and not inner.name.startswith("_"):
            yield from public_parts(inner)
        elif isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
            is_setter = any(getattr(decorator, "attr", "") == "setter" for decorator in inner.decorator_list)
            yield from [] if is_setter else [inner]


@pytest.mark.parametrize("path", sorted(TREES), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_public_name_is_documented(path):
    assert not [getattr(node, "name", path) for node in public_parts(TREES[path]) if ast.get_docstring(node) is None]
