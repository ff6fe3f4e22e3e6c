"""Lines of Python dictionaries as JSON, without running them.

Files written with `print` or `repr` hold `{u'title': 'a', "b": None}`. Python's parser is slow, so strings and
constants are rewritten first: almost every line becomes JSON, in less than half of the time. The parser reads the
others.
"""

import ast
import json
import re
import warnings

_LONGEST = 1 << 18
"""Characters of a line for the parser, which needs up to 500 bytes of memory for each."""
_TOKEN = re.compile(
    rb"""[uU]?'([^'\\\n]*+(?:\\.[^'\\\n]*+)*+)'|[uU]?"([^"\\\n]*+(?:\\.[^"\\\n]*+)*+)"|\b(?:None|True|False)\b|['"].*"""
)
"""A string, a constant, or the rest of a line from a quote that is never closed."""
_CONSTANTS = {b"None": b"null", b"True": b"true", b"False": b"false"}
_QUOTE_OR_ESCAPE = re.compile(rb'"|\\.')
_ESCAPES = {rb"\'": b"'", b'"': rb"\"", rb"\x": rb"\u00"} | {
    escape: escape for escape in (rb"\"", rb"\\", rb"\n", rb"\r", rb"\t", rb"\b", rb"\f", rb"\u")
}
"""Within a string, in JSON; other escapes, such as octal ones, are rare."""


def literals_to_json(lines: bytes) -> bytes:
    """The lines with their strings and constants as in JSON. What JSON does not have (tuples, octal escapes, joined
    strings) stays as it is, so that such a line is no JSON; nor is a line that is not Python."""
    return _TOKEN.sub(_token_to_json, lines)


def _token_to_json(match: re.Match[bytes]) -> bytes:
    token, single, double = match[0], match[1], match[2]
    if token in _CONSTANTS:
        return _CONSTANTS[token]
    text = double if single is None else single
    if text is None:
        return token
    if b"\\" not in text:
        return b'"%b"' % text.replace(b'"', rb"\"")
    try:
        return b'"%b"' % _QUOTE_OR_ESCAPE.sub(lambda escape: _ESCAPES[escape[0]], text)
    except KeyError:
        return b"?"  # no JSON: for the parser


def literal_to_json(line: bytes) -> bytes:
    """One line as JSON, by Python's parser if need be. Raises ValueError with the reason if it is not a dictionary of
    plain values, or too deep, or too long for the parser."""
    rewritten = literals_to_json(line)
    try:
        if isinstance(json.loads(rewritten.decode()), dict):
            return rewritten
    except (ValueError, RecursionError):
        pass  # for the parser
    value = _evaluated(line.decode())
    if not isinstance(value, dict):
        raise ValueError(f"it is a {type(value).__name__}")
    try:
        return json.dumps(value, allow_nan=False).encode()
    except (TypeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def _evaluated(line: str) -> object:
    if len(line) > _LONGEST:
        raise ValueError(f"longer than {_LONGEST >> 10} KiB, and not written like JSON")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an unknown escape, such as "\d"
            return ast.literal_eval(line.strip())
    except SyntaxError as error:
        raise ValueError(error.msg) from error
    except (RecursionError, MemoryError) as error:  # both are how Python says it, by version
        raise ValueError("nested too deeply") from error
    except (ValueError, TypeError) as error:  # with the address of an object in the message
        raise ValueError("something in it is not a constant") from error
