"""What this machine keeps of a bucket: a folder below EIMF_CACHE for each address and endpoint."""

import os
from pathlib import Path

from eimf.store import keys
from eimf.store.objects import Objects
from pipeline.paths import cache_folder

_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")


def cache_of(objects: Objects, purpose: str) -> Path:
    """The folder for what these objects are read for: `stores` or `bundles`."""
    endpoint = next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), "")
    return cache_folder() / purpose / keys.digest([endpoint, objects.address])
