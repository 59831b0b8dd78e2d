"""Reading a config: YAML, overrides from the command line, and every fault at once."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sharpness_phases.config.consistency import inconsistencies
from sharpness_phases.config.schema import ExperimentConfig, to_plain
from sharpness_phases.config.yaml_marks import KeyPath, Plain, YamlError, dump, parse
from sharpness_phases.errors import UserError

MAX_BYTES = 65_536
"""Bytes of a config, or of an override. Those of this project have 3,000 at most, and reading takes 25 s a megabyte."""

_MOST_FAULTS = 50
"""Faults that are named, one a line; chosen so: more than anybody reads at once, and the last line tells how many."""


class ConfigError(UserError):
    """A config that cannot be used; the message names every fault with its place, key, value and what is allowed."""


def load_config(source: str | Path, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Read and check a config.

    Args:
        source: Path of a YAML file, or the name of a shipped config.
        overrides: Texts `key.path=value`, the value in YAML; later ones win.

    Returns:
        The checked config.

    Raises:
        ConfigError: If the file cannot be read or anything in it or in the overrides is wrong.
    """
    place, text = _read(source)
    try:
        document, lines = parse(text)
    except YamlError as error:
        raise ConfigError(f"{place}:{error.line}: {error}") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{place}: a config must be a mapping of keys to values; got {_show(document)}")
    places = {path: f"{place}:{line}" for path, line in lines.items()}
    faults = [fault for text in overrides if (fault := _override(document, places, text))]
    return _validated(document, places, place, faults)


def checked(config: ExperimentConfig, place: str) -> ExperimentConfig:
    """Check a config that was made from another one; anything wrong in it is a `ConfigError`.

    Args:
        config: A config whose values were never checked together.
        place: Where it comes from, for messages.

    Returns:
        An equal config.

    """
    return _validated(to_plain(config), {}, place)


def dump_config(config: ExperimentConfig) -> str:
    """The config as YAML that `load_config` reads back to an equal one."""
    return dump(to_plain(config))


def shipped_configs() -> list[str]:
    """Names of the configs that come with the project, such as quickstart or laptop/fcn."""
    return [name for name, _ in _shipped_files()]


def describe_shipped() -> list[tuple[str, str]]:
    """Names of the shipped configs, each with the first line of its comment."""
    return [
        (name, entry.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")) for name, entry in _shipped_files()
    ]


def _validated(
    document: dict[str, Plain], places: dict[KeyPath, str], place: str, faults: Sequence[str] = ()
) -> ExperimentConfig:
    found = list(faults)
    try:
        config = ExperimentConfig.model_validate(document)
    except ValidationError as error:
        found += [_describe(fault, places, place) for fault in error.errors() if fault["loc"]]
        found += [f"{_place(path, places, place)}: {_dotted(path)}: {text}" for path, text in inconsistencies(document)]
    if found:
        different = list(dict.fromkeys(found))
        more = [f"{place}: and {n} more faults"] if (n := len(different) - _MOST_FAULTS) > 0 else []
        raise ConfigError("\n".join([*different[:_MOST_FAULTS], *more]))
    return config


def _shipped_files() -> list[tuple[str, Traversable]]:
    found = []
    for entry in _shipped().iterdir():
        if entry.is_dir():
            found += [(f"{entry.name}/{inner.name}", inner) for inner in entry.iterdir()]
        else:
            found.append((entry.name, entry))
    return sorted(((name.removesuffix(".yaml"), e) for name, e in found if name.endswith(".yaml")), key=lambda f: f[0])


def _shipped() -> Traversable:
    try:
        return files("sharpness_phases.configs")
    except ModuleNotFoundError:  # a checkout that is not installed
        return Path(__file__).parents[2] / "configs"


def _read(source: str | Path) -> tuple[str, str]:
    """Name for messages, and text, of a config."""
    path: Path | Traversable = Path(source)
    place = str(source)
    if not _is_file(Path(source)) and str(source) in shipped_configs():  # a folder of that name is no config
        path = _shipped() / f"{source}.yaml"
        place = f"{source}.yaml (shipped)"
    try:
        data = path.read_bytes()
        if len(data) > MAX_BYTES:
            raise ConfigError(f"{place}: a config may have at most {MAX_BYTES} bytes; this file has {len(data)}")
        return place, data.decode("utf-8")
    except IsADirectoryError:
        raise ConfigError(f"{place}: cannot be read: a folder; name a config in it, as {source}/config.yaml") from None
    except FileNotFoundError:
        names = ", ".join(shipped_configs())
        raise ConfigError(f"{place}: no such file, nor a shipped config (shipped: {names})") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{place}: not a text file in UTF-8") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{place}: cannot be read: {reason}") from None


def _is_file(path: Path) -> bool:
    """Whether there is something to read, which may be a pipe; not for names that no file can have."""
    try:
        return path.exists() and not path.is_dir()
    except (OSError, ValueError):
        return False


def _override(document: dict[str, Plain], places: dict[KeyPath, str], text: str) -> str | None:
    """Apply one `key.path=value` to the document; return the fault, if any."""
    place = f"-s {text}"
    key, equals, value_text = text.partition("=")
    keys = key.strip().split(".")
    if not equals or not all(keys):
        return f"{place}: an override must look like sweep.widths=[64,128]"
    if len(value_text) > MAX_BYTES:
        return f"-s {key}: a value may have at most {MAX_BYTES} characters; this one has {len(value_text)}"
    try:
        value, _ = parse(value_text)
    except YamlError as error:
        return f"{place}: {error}"
    section = document
    for depth, name in enumerate(keys[:-1]):
        if section.get(name) is None:
            section[name] = {}
        inner = section[name]
        if not isinstance(inner, dict):
            return f"{place}: {'.'.join(keys[: depth + 1])} is not a section; got {_show(inner)}"
        section = inner
    section[keys[-1]] = value
    path: KeyPath = tuple(keys)
    for old in [old for old in places if old[: len(path)] == path]:
        del places[old]
    places[path] = place
    return None


def _describe(fault: ErrorDetails, places: dict[KeyPath, str], source: str) -> str:
    """One line for one fault of pydantic's: place, key, what is wrong, what is allowed, what was received."""
    path: KeyPath = tuple(fault["loc"])
    if fault["type"] == "value_error":
        return f"{_place(path, places, source)}: {_dotted(path)}: {fault['ctx']['error']}"
    return f"{_place(path, places, source)}: {_sentence(fault, path)}"


def _sentence(fault: ErrorDetails, path: KeyPath) -> str:
    kind, context, key = fault["type"], fault.get("ctx", {}), _dotted(path)
    if kind == "extra_forbidden":
        section = _dotted(path[:-1])
        allowed = _allowed_keys(path[:-1])
        close = difflib.get_close_matches(str(path[-1]), allowed, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        where = f" in {section}" if section else ""
        return f"unknown key {path[-1]!r}{where}; allowed: {', '.join(allowed)}{hint}"
    if kind == "missing":
        return f"{key}: required, but missing"
    expected = {
        "int_type": "must be an integer",
        "int_from_float": "must be an integer",
        "float_type": "must be a number",
        "bool_type": "must be true or false",
        "string_type": "must be a text",
        "list_type": "must be a list, such as [64, 128]",
        "model_type": f"must be a section with the keys {', '.join(_allowed_keys(path))}",
        "model_attributes_type": f"must be a section with the keys {', '.join(_allowed_keys(path))}",
        "finite_number": "must be a finite number",
        "string_pattern_mismatch": _PATTERNS.get(key),
    }.get(kind)
    if expected is None and kind in _LIMITS:
        phrase, name = _LIMITS[kind]
        expected = phrase.format(_limit(context[name]))
    if expected is None:
        expected = fault["msg"][0].lower() + fault["msg"][1:]
    return f"{key}: {expected}; got {_show(fault['input'])}"


_PATTERNS = {
    "name": "must be letters, digits, '.', '_' and '-', and begin with a letter or digit",
    "executor.address": "must be local, auto, host:port or ray://host:port",
}

_LIMITS = {
    "greater_than_equal": ("must be at least {}", "ge"),
    "greater_than": ("must be above {}", "gt"),
    "less_than_equal": ("must be at most {}", "le"),
    "less_than": ("must be below {}", "lt"),
    "too_short": ("must have at least {} entry", "min_length"),
    "string_too_long": ("must have at most {} characters", "max_length"),
    "literal_error": ("must be one of {}", "expected"),
}


def _limit(value: object) -> object:
    return f"{value:g}" if isinstance(value, float) else value


def _allowed_keys(path: KeyPath) -> list[str]:
    """Keys of the section at a path, empty where there is no section."""
    section: object = ExperimentConfig
    for name in path:
        fields = section.model_fields if isinstance(section, type) and issubclass(section, BaseModel) else {}
        section = fields[str(name)].annotation if str(name) in fields else None
    return list(section.model_fields) if isinstance(section, type) and issubclass(section, BaseModel) else []


def _place(path: KeyPath, places: dict[KeyPath, str], source: str) -> str:
    """Where the key is, or the nearest section around it."""
    for length in range(len(path), 0, -1):
        if path[:length] in places:
            return places[path[:length]]
    return source


def _dotted(path: KeyPath) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else part)
    return text


def _show(value: object) -> str:
    """A short form of a value, as YAML would write it."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
