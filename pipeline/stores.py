"""Open the store that a user names: a folder, or `s3://BUCKET/PREFIX`."""

from pathlib import Path

from eimf.errors import SettingError
from eimf.store.artifact import Store
from eimf.store.objects import SCHEME, Objects
from pipeline.buckets import cache_of


def open_store(address: str | Path) -> Store:
    """The store at `address`. One in a bucket has its cache below EIMF_CACHE, apart for each address and endpoint.
    Raises SettingError for an address of another kind."""
    text = str(address)
    if not text.startswith(SCHEME):
        if "://" in text:
            raise SettingError("store", f"{text!r} is of no known kind", "give a folder, or s3://BUCKET/PREFIX")
        return Store(text)
    objects = Objects(text)
    return Store(cache_of(objects, "stores"), objects)
