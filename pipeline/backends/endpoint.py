"""The address of a server that answers for the LLM, and the key that it asks for."""

import os
from urllib.parse import urlsplit

from eimf.errors import SettingError

API_KEY = "EIMF_API_KEY"
"""Environment variable with the key; it is never stored or printed."""
_FIELD = "runtime.endpoint"
_HINT = "give the base URL, such as http://gpu-box:8000/v1"


def checked_endpoint(endpoint: str | None) -> str:
    """The base URL. Raises SettingError if there is none, or if it is no URL."""
    if endpoint is None:
        raise SettingError(_FIELD, 'not set, and runtime.engine is "http"', _HINT)
    if "@" in endpoint:
        raise SettingError(_FIELD, "holds a user name or a password", f"leave it out, and put a key into {API_KEY}")
    try:
        parts = urlsplit(endpoint)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        usable = False
    if not usable or not endpoint.isprintable():
        raise SettingError(_FIELD, f"{endpoint!r} is no address of a server", _HINT)
    return endpoint


def api_key() -> str | None:
    """The key of the environment; None if there is none. Raises SettingError for one that no HTTP header can hold."""
    key = os.environ.get(API_KEY, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise SettingError(API_KEY, "holds a character that no HTTP header may hold", "copy the key again")
    return key or None
