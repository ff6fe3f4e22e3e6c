"""How an option is declared: its names, and the panel of the help page that lists it."""

import math
from typing import Any

import typer

DATA, SETTINGS, INPUT, OUTPUT = "Data", "Settings", "Input", "Output"
"""Panels of several help pages."""


def option(*names: str, panel: str, **more: Any) -> Any:
    return typer.Option(*names, rich_help_panel=panel, **more)


def finite(value: float | None) -> float | None:
    """The value of an option. Raises typer.BadParameter if it is infinite or not a number."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number.")
    return value
