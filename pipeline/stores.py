"""Open the store that a user names: a folder, or `s3://BUCKET/PREFIX`."""

import os
from pathlib import Path

from eimf.errors import SettingError
from eimf.store import keys
from eimf.store.artifact import Store
from eimf.store.objects import SCHEME, Objects
from pipeline.paths import cache_folder

_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")


def open_store(address: str | Path) -> Store:
    """The store at `address`. One in a bucket has its cache below EIMF_CACHE, apart for each address and endpoint.
    Raises SettingError for an address of another kind."""
    text = str(address)
    if not text.startswith(SCHEME):
        if "://" in text:
            raise SettingError("store", f"{text!r} is of no known kind", "give a folder, or s3://BUCKET/PREFIX")
        return Store(text)
    objects = Objects(text)
    endpoint = next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), "")
    return Store(cache_folder() / "stores" / keys.digest([endpoint, objects.address]), objects)
