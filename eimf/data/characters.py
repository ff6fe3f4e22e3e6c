"""Clean characters of titles: what nobody sees is removed, and every run of white space is one space."""

import polars as pl

_CONTROLS = r"\x00-\x08\x0e-\x1b\x7f-\x{84}\x{86}-\x{9f}"
_ZERO_WIDTH = r"\x{ad}\x{180e}\x{200b}\x{2060}-\x{2064}\x{feff}\x{fff9}-\x{fffb}\x{fffe}\x{ffff}"
_DIRECTIONS = r"\x{61c}\x{200e}\x{200f}\x{202a}-\x{202e}\x{2066}-\x{206f}"
_TAGS = r"\x{e0000}-\x{e007f}"
"""Invisible letters: only the flags of England, Scotland and Wales need them."""
_UNSEEN = rf"(\x{{1f3f4}}[\x{{e0020}}-\x{{e007f}}]+)|[{_CONTROLS}{_ZERO_WIDTH}{_DIRECTIONS}{_TAGS}]"
_SPACE = r"[\s\x1c-\x1f]+"
_ODD_SPACE = r"[\s\x1c-\x1f&&[^ ]]|  |^ | $"


def clean_characters(text: pl.Series) -> pl.Series:
    """`text` without control and zero-width characters, byte order marks and overrides of the direction of writing, and
    with one space for all white space; null if nothing is left.

    Joiners, variation selectors and combining marks stay: Persian, Hindi and emoji need them. Lone surrogates cannot
    be in a polars series.
    """
    seen = text.str.replace_all(_UNSEEN, "${1}")
    if seen.str.contains(_ODD_SPACE).any():
        seen = seen.str.replace_all(_SPACE, " ").str.strip_chars(" ")
    return seen.set(seen == "", None)
