"""YAML with the line of every key: safe, strict about duplicates, and with YAML 1.2's idea of numbers and booleans."""

from __future__ import annotations

import re
from typing import TypeAlias

import yaml

KeyPath: TypeAlias = tuple[str | int, ...]
"""Where a value is: keys of mappings, and indices of lists."""

Plain: TypeAlias = "None | bool | int | float | str | list[Plain] | dict[str, Plain]"
"""What YAML can say in a config."""

_FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$")
_INT = re.compile(r"^[-+]?[0-9]+$")
_BOOL = re.compile(r"^(true|True|TRUE|false|False|FALSE)$")
_NULL = re.compile(r"^(~|null|Null|NULL|)$")


class YamlError(ValueError):
    """The text is not YAML that a config may be.

    Attributes:
        line: Line of the fault, from 1.
    """

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line


class _Dumper(yaml.SafeDumper):
    """SafeDumper that quotes texts which either version of YAML would read as something else."""


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads 1e-3 as a number, and `no` as the word it is."""

    yaml_implicit_resolvers: dict[str | None, list[tuple[str, re.Pattern[str]]]] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent):
            raise YamlError(line, "aliases (*name) are not allowed")
        if tag := getattr(event, "tag", None):
            word = tag.replace("tag:yaml.org,2002:", "!!")
            raise YamlError(line, f"tags ({word}) are not allowed")
        return super().compose_node(parent, index)


for _tag, _pattern, _first in (
    ("bool", _BOOL, "tTfF"),
    ("int", _INT, "-+0123456789"),
    ("float", _FLOAT, "-+0123456789."),
    ("null", _NULL, ["~", "n", "N", ""]),
):
    for _side in (_Loader, _Dumper):
        _side.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, list(_first))


def _construct_int(loader: _Loader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node))


_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)


def dump(value: Plain) -> str:
    """Write plain values as YAML that `parse` reads back to equal ones."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def parse(text: str) -> tuple[Plain, dict[KeyPath, int]]:
    """Read one YAML document.

    Args:
        text: The document.

    Returns:
        Its value, and the line (from 1) of every key path.

    Raises:
        YamlError: If the text is not YAML, uses tags, aliases or keys that are not words, or has a key twice.
    """
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        lines: dict[KeyPath, int] = {}
        if node is None:
            return None, lines
        _note_lines(node, (), lines)
        return loader.construct_document(node), lines
    except YamlError:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(mark.line + 1 if mark else 1, f"not valid YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise YamlError(1, f"not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise YamlError(1, "nested too deeply") from None
    except ValueError as error:  # such as an integer of thousands of digits
        raise YamlError(1, f"not valid YAML: {error}") from None
    finally:
        if loader is not None:
            loader.dispose()


def _note_lines(node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int]) -> None:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                raise YamlError(line, f"keys must be words; got {getattr(key, 'value', 'a structure')!r}")
            if (*path, key.value) in lines:
                raise YamlError(line, f"key {key.value!r} appears twice (first in line {lines[*path, key.value]})")
            lines[*path, key.value] = line
            _note_lines(value, (*path, key.value), lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _note_lines(value, (*path, index), lines)
