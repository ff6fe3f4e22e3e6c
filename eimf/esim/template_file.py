"""Prompt templates as TOML files: built-in ones by name, or the user's own."""

import tomllib
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from eimf.errors import SettingError, on_one_line

TemplateT = TypeVar("TemplateT", bound=BaseModel)


def read_template(kind: type[TemplateT], name: str, folder: Path, *, field: str, built_in: str) -> TemplateT:
    """A template of this `kind`: by name from the folder `built_in` of this package, or a TOML file in UTF-8, with or
    without a byte order mark, relative to `folder`. Raises SettingError, which names the setting `field`."""
    content = _content(name, folder, field, built_in)
    try:
        return kind.model_validate(tomllib.loads(content.decode("utf-8-sig")))
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        reason = f"{'.'.join(map(str, first['loc']))[:100]}: {message[:1].lower()}{message[1:]}"
    except RecursionError:
        reason = "nested too deeply"
    except ValueError as error:  # no TOML, no UTF-8, or a number of thousands of digits
        reason = on_one_line(error)
    hint = f"compare it with {built_in}/{_names(built_in)[0]}.toml"
    raise SettingError(field, f"{name[:200]!r} is not a template ({reason})", hint)


def _names(built_in: str) -> list[str]:
    """Names of the templates in a folder of this package."""
    paths = (resources.files("eimf.esim") / built_in).iterdir()
    return sorted(path.name.removesuffix(".toml") for path in paths if path.name.endswith(".toml"))


def _content(name: str, folder: Path, field: str, built_in: str) -> bytes:
    shipped, path = resources.files("eimf.esim") / built_in / f"{name}.toml", folder / name
    with suppress(OSError):  # a name that no file can have, say
        if "/" not in name and not name.endswith(".toml") and shipped.is_file():
            return shipped.read_bytes()
        if path.is_file():
            return path.read_bytes()
    names = _names(built_in)
    hint = f"use {', '.join(names)}, or the path of a TOML file like {'those' if len(names) > 1 else 'that'}"
    raise SettingError(field, f"no template {name[:200]!r} that can be read", hint)
