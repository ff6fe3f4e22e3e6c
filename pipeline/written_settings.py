"""Settings as people write them: TOML files, `section.key=value`, and dictionaries of Python."""

import json
import tomllib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from eimf.errors import SettingError
from pipeline.paths import path_is

Setting = tuple[str, Any]
"""The dotted name of a setting, and its value."""


def read_toml(path: Path, field: str) -> dict[str, Any]:
    """A TOML file in UTF-8, with or without a byte order mark. Raises SettingError for `field`."""
    if not path_is(path.is_file):
        raise SettingError(field, f"no file {path}", f"give the path of a TOML {field}")
    return parse_toml(path.read_bytes(), field, str(path))


def parse_toml(text: bytes, field: str, source: str) -> dict[str, Any]:
    """The content of a TOML file, `source`. Raises SettingError for `field`."""
    try:
        values = tomllib.loads(text.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise SettingError(field, f"{source} is not UTF-8 ({error})", "save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingError(field, f"{source} is not TOML ({error})", "fix that line") from error
    except ValueError as error:  # a number with thousands of digits, which TOML allows
        raise SettingError(field, f"{source} cannot be read ({error})", "write smaller numbers") from error
    except RecursionError as error:
        raise SettingError(field, f"{source} {_DEPTH_PROBLEM}", _DEPTH_HINT) from error
    if _too_deep(values):
        raise SettingError(field, f"{source} {_DEPTH_PROBLEM}", _DEPTH_HINT)
    return {name: _dates_as_text(value) for name, value in values.items()}


def _dates_as_text(value: Any) -> Any:
    """`value` with each date of TOML, which has no quotes, as a setting takes it: in quotes."""
    if isinstance(value, dict):
        return {name: _dates_as_text(part) for name, part in value.items()}
    return value.isoformat() if isinstance(value, date) else value


_MAX_DEPTH = 16
"""Deepest nesting of lists and tables; no setting has more than four levels."""
_DEPTH_PROBLEM, _DEPTH_HINT = f"nests more than {_MAX_DEPTH} lists or tables", "no setting needs so many"


def _too_deep(value: Any) -> bool:
    """True if lists and tables are nested deeper than in any setting."""
    level = [value]
    for _ in range(_MAX_DEPTH):
        nested = [node.values() if isinstance(node, dict) else node for node in level if isinstance(node, dict | list)]
        level = [part for parts in nested for part in parts]
    return bool(level)


def parse_setting(override: str, origin: str) -> Setting:
    """A setting from `section.key=value`. Raises SettingError."""
    if not _is_text(override):
        raise SettingError("set", f"{override!a} in {origin} is not UTF-8", "write it in UTF-8")
    name, sign, text = override.partition("=")
    if not sign or not _is_name(name.strip()):
        raise SettingError("set", f"{override!r} in {origin} is not section.key=value", 'write it like "train.lr=5e-4"')
    return name.strip(), _value(text.strip())


def flat_settings(settings: Mapping[str, Any], origin: str) -> list[Setting]:
    """Settings from `{"section.key": value}` or `{"section": {"key": value}}`. Raises SettingError."""
    flat: list[Setting] = []
    for name, value in settings.items():
        nested = value.items() if "." not in str(name) and isinstance(value, Mapping) else None
        flat += [(str(name), value)] if nested is None else [(f"{name}.{key}", part) for key, part in nested]
    for name, _ in flat:
        if not _is_name(name):
            raise SettingError("set", f"{name!r} in {origin} is not section.key", 'write it like {"train.lr": 5e-4}')
    return [(name, str(value) if isinstance(value, Path) else value) for name, value in flat]


def setting_text(name: str, value: Any) -> str:
    """A setting as `section.key=value`, which `parse_setting` reads."""
    return f"{name}={_toml(value)}"


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {_toml(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, bool | int | float):
        return str(value).lower()
    return json.dumps(str(value), ensure_ascii=False)


def _is_name(name: str) -> bool:
    return 2 <= len(name.split(".")) <= _MAX_DEPTH


def _is_text(value: str) -> bool:
    """False for bytes of the command line that are not UTF-8; Python turns these into lone surrogates."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _value(text: str) -> Any:
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # text without quotes, or a value that no setting takes
        return text
    return text if isinstance(value, date) or _too_deep(value) else value
