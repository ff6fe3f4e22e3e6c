"""The space of a search: for each setting a range of numbers, or a list of values.

[space]
"train.lr" = {low=1e-4, high=1e-2, log=true}
"model.width" = {low=32, high=256, step=32}
"model.dropout" = [0.1, 0.3, 0.5]
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from eimf.errors import SettingError

_FORMS = "write {low=1e-4, high=1e-2, log=true}, {low=32, high=256, step=32} or a list of values"
_SWITCHES = {"log": bool, "step": (int, float)}


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included: all, or those that are whole steps from `low`. Integers if both are.
    `log`: as likely between 1 and 10 as between 10 and 100."""

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None

    @property
    def integers(self) -> bool:
        return all(isinstance(number, int) for number in (self.low, self.high))

    def ends(self) -> tuple[Any, ...]:
        """Values to try a setting with."""
        return self.low, self.high

    def described(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Choices:
    """These values, in no order."""

    values: tuple[Any, ...]

    def ends(self) -> tuple[Any, ...]:
        """Values to try a setting with."""
        return self.values

    def described(self) -> list[Any]:
        return list(self.values)


Parameter = Range | Choices
Space = Mapping[str, Parameter]
"""By the name of the setting."""
Values = dict[str, Any]
"""One point of a space."""


def read_space(table: Mapping[str, Any], field: str) -> dict[str, Parameter]:
    """A table of a plan; settings may be written with and without quotes. Raises SettingError."""
    space: dict[str, Parameter] = {}
    for name, value in _flat(table, ""):
        space[name] = _parameter(value, f"{field}.{name}")
    return space


def settings_of(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Values as settings of a recipe, section.key=value."""
    return tuple(f"{name}={json.dumps(value)}" for name, value in values.items())


def _flat(table: Mapping[str, Any], prefix: str) -> list[tuple[str, Any]]:
    """TOML makes tables of a name without quotes: `train.lr`."""
    pairs = []
    for part, value in table.items():
        name = f"{prefix}{part}"
        is_section = isinstance(value, dict) and value and not value.keys() & {"low", "high", *_SWITCHES}
        pairs += _flat(value, f"{name}.") if is_section else [(name, value)]
    return pairs


def _parameter(value: Any, field: str) -> Parameter:
    if isinstance(value, dict):
        return _range(value, field)
    if not isinstance(value, list):
        raise SettingError(
            field, f"{value!r} is neither a range nor a list", f"{_FORMS}; one value belongs into settings"
        )
    if not value:
        raise SettingError(field, "an empty list", _FORMS)
    texts = [json.dumps(one) for one in value]
    if twice := [text for text in texts if texts.count(text) > 1]:
        raise SettingError(field, f"{twice[0]} is in the list twice", "write each value once")
    return Choices(tuple(value))


def _range(table: dict[str, Any], field: str) -> Range:
    if unknown := sorted(table.keys() - {"low", "high", *_SWITCHES}):
        raise SettingError(field, f"{unknown[0]!r} is no part of a range", _FORMS)
    for name in ("low", "high"):
        if name not in table:
            raise SettingError(field, f"{name} is missing", _FORMS)
        if not _is_number(table[name]):
            raise SettingError(f"{field}.{name}", f"{table[name]!r} is not a number", _FORMS)
    if not isinstance(table.get("log", False), bool):
        raise SettingError(f"{field}.log", f"{table['log']!r}", "write true or false")
    if "step" in table and not (_is_number(table["step"]) and table["step"] > 0):
        raise SettingError(f"{field}.step", f"{table['step']!r}", "write a number above 0")
    found = Range(**table)
    _check(found, field)
    return found


def _check(found: Range, field: str) -> None:
    """Raises SettingError for a range that has no meaning."""
    if found.low >= found.high:
        raise SettingError(field, f"low={found.low} is not below high={found.high}", "exchange them, or write a list")
    if found.log and found.low <= 0:
        raise SettingError(field, f"log=true from low={found.low}", "begin above 0, or leave log out")
    if found.step is None:
        return
    if found.log:
        raise SettingError(field, f"log=true together with step={found.step}", "leave one of them out")
    steps = (found.high - found.low) / found.step
    if abs(steps - round(steps)) > 1e-9 * max(1.0, steps):
        last = found.low + math.floor(steps) * found.step
        problem = f"high={found.high} is no whole number of steps of {found.step} above low={found.low}"
        raise SettingError(field, problem, f"end at {last:g}" if last > found.low else "write a smaller step")
    if found.integers and not isinstance(found.step, int):
        raise SettingError(field, f"step={found.step} between integers", "write low and high with a decimal point")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
