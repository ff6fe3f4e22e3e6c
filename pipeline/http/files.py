"""The page and the OpenAPI document: small files, held in memory."""

import hashlib
import mimetypes
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response

_TYPES = {".js": "text/javascript", ".svg": "image/svg+xml", ".woff2": "font/woff2", ".webmanifest": "application/json"}
_TEXT = ("text/", "application/json", "image/svg")
SECURITY = [
    (b"content-security-policy", b"default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]
"""Headers of every answer: a page loads nothing from elsewhere, and tells nobody where it was."""


@dataclass(frozen=True)
class File:
    """The content of a file, and what is said about it."""

    content: bytes
    media_type: str
    tag: str

    async def endpoint(self, request: Request) -> Response:
        """The file, or 304 if the browser has it already."""
        headers = {"etag": self.tag, "cache-control": "no-cache"}
        if self.tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(self.content, headers=headers, media_type=self.media_type)


def file(name: str, content: bytes) -> File:
    """A file whose type its name tells."""
    ending = name[name.rfind(".") :]
    media_type = _TYPES.get(ending) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    if media_type.startswith(_TEXT):
        media_type += "; charset=utf-8"
    return File(content, media_type, f'"{hashlib.sha256(content).hexdigest()[:32]}"')


def page_files() -> dict[str, File]:
    """By path: the page at `/`, and the files beside it."""
    folder = resources.files("pipeline.http") / "page"
    files = {f"/{name}": file(name, content) for name, content in _contents(folder)}
    if index := files.pop("/index.html", None):
        files["/"] = index
    return files


def _contents(folder: Traversable) -> list[tuple[str, bytes]]:
    if not folder.is_dir():
        return []
    entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    return [(entry.name, entry.read_bytes()) for entry in entries if entry.is_file() and entry.name[0] not in "._"]
