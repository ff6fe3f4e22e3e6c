"""Objects of a bucket, by obstore: read, list, put whole, put only if absent. Every failure is one line.

obstore itself reads the usual variables for credentials, region and endpoint (`AWS_ACCESS_KEY_ID`, `AWS_REGION`,
`AWS_ENDPOINT_URL`, `AWS_ALLOW_HTTP`, `AWS_TIMEOUT` and so on).
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from eimf.errors import ArtifactError, MissingError, SettingError, on_one_line

SCHEME = "s3://"
_ADDRESS = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:/[A-Za-z0-9][A-Za-z0-9._=-]*)*)/?")
_BLOCK = 8 << 20
_RETRIES = 6
_T = TypeVar("_T")
_FAULTS = (
    ("NoSuchBucket", "there is no such bucket", "create it, or correct the address or AWS_ENDPOINT_URL"),
    ("RequestTimeTooSkewed", "this machine's clock differs too much from the server's", "set the clock, by NTP"),
    ("RequestExpired", "this machine's clock differs too much from the server's", "set the clock, by NTP"),
    ("InvalidAccessKeyId", "the server does not know this access key", "correct AWS_ACCESS_KEY_ID"),
    ("SignatureDoesNotMatch", "the server refuses the signature", "correct AWS_SECRET_ACCESS_KEY"),
    ("ExpiredToken", "the credentials have expired", "get new ones"),
    ("InvalidToken", "the server refuses the session token", "correct or unset AWS_SESSION_TOKEN"),
    ("AuthorizationHeaderMalformed", "the bucket is in another region", "set AWS_REGION to the bucket's region"),
    ("PermanentRedirect", "the bucket is in another region", "set AWS_REGION to the bucket's region"),
    ("incorrectly configured region", "the bucket is in another region", "set AWS_REGION to the bucket's region"),
    ("169.254.169.254", "no credentials", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    ("169.254.170.2", "no credentials", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    ("NotImplemented", "the server cannot put an object only if it is absent", "use a server with If-None-Match"),
    ("builder error", "the endpoint is no https address", "correct AWS_ENDPOINT_URL, or set AWS_ALLOW_HTTP=true"),
    ("401 Unauthorized", "the server refuses the credentials", "correct AWS_ACCESS_KEY_ID and its secret"),
    ("error sending request", "no answer", "correct AWS_ENDPOINT_URL and AWS_REGION, or check the network"),
    ("operation timed out", "no answer in time", "check the network, or set AWS_TIMEOUT=5m; the same command resumes"),
)
"""What obstore's messages contain, by what it means. More special ones come first."""


class Stat(NamedTuple):
    """Size and age of an object."""

    size: int
    """Bytes."""
    modified: float
    """Seconds since 1970, by the server's clock."""


@dataclass
class Objects:
    """The objects below an address, `s3://BUCKET/PREFIX`, by their names relative to it. A process that was forked off
    after the first use cannot use them, and is told so instead of waiting for ever."""

    address: str
    retries: int = _RETRIES
    _process: int = field(default_factory=os.getpid, repr=False)
    _client: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Raises SettingError for another kind of address."""
        match = _ADDRESS.fullmatch(self.address)
        if match is None:
            hint = "write s3://BUCKET/PREFIX, with letters, digits and ._=- in PREFIX"
            raise SettingError("store", f"{self.address!r} is no address of a bucket", hint)
        self._bucket, self._prefix = match[1], match[2].strip("/")
        self.address = f"{SCHEME}{self._bucket}{match[2]}"

    def place(self, name: str) -> str:
        """The address of an object, for messages."""
        return f"{self.address}/{name}"

    def read(self, name: str) -> bytes | None:
        """The content of an object, or None if there is none."""
        try:
            return self._do("read", name, lambda obstore, client: bytes(obstore.get(client, name).bytes()))
        except FileNotFoundError:
            return None

    def blocks(self, name: str) -> Iterator[bytes]:
        """The content of an object, block by block. Raises ArtifactError if there is none."""
        try:
            stream = self._do(
                "read", name, lambda obstore, client: iter(obstore.get(client, name).stream(min_chunk_size=_BLOCK))
            )
            while (block := self._do("read", name, lambda obstore, client: next(stream, None))) is not None:
                yield bytes(block)
        except FileNotFoundError as error:
            raise ArtifactError(self.place(name), "object is missing", "copy it from another store") from error

    def write(self, name: str, data: bytes) -> None:
        """Put an object; it replaces an older one, at once and as a whole."""
        self._put(name, data)

    def write_new(self, name: str, data: bytes) -> bool:
        """Put an object if there is none of this name. True if it is the new one, False if there was one."""
        from obstore.exceptions import AlreadyExistsError

        try:
            self._put(name, data, mode="create")
        except AlreadyExistsError:
            return False
        return True

    def upload(self, name: str, path: Path) -> None:
        """Put the content of a file, in parts if it is large: the object appears once all have arrived."""
        self._put(name, path, chunk_size=_BLOCK, max_concurrency=4)

    def _put(self, name: str, content: bytes | Path, **options: Any) -> None:
        try:
            self._do("write", name, lambda obstore, client: obstore.put(client, name, content, **options))
        except FileNotFoundError as error:  # so obstore says that there is no bucket
            raise self._error("write", name, error) from error

    def listing(self, prefix: str = "") -> dict[str, Stat]:
        """Every object whose name begins with the folder `prefix`, in the order of names."""
        rows = self._do(
            "list",
            prefix,
            lambda obstore, client: [row for page in obstore.list(client, prefix or None) for row in page],
        )
        return {row["path"]: Stat(row["size"], row["last_modified"].timestamp()) for row in sorted(rows, key=_path)}

    def folders(self, prefix: str = "") -> list[str]:
        """The names of the folders directly below the folder `prefix`, in order."""
        result = self._do("list", prefix, lambda obstore, client: obstore.list_with_delimiter(client, prefix or None))
        return sorted(path.rpartition("/")[2] for path in result["common_prefixes"])

    def remove(self, names: list[str]) -> None:
        """Remove these objects. One that is missing is no error."""
        if names:
            self._do("remove", names[0], lambda obstore, client: obstore.delete(client, names))

    def _do(self, action: str, name: str, call: Callable[[Any, Any], _T]) -> _T:
        """What `call` returns. Raises FileNotFoundError and AlreadyExistsError as they are, the rest as one line."""
        try:
            import obstore
            from obstore.exceptions import AlreadyExistsError, BaseError
        except ModuleNotFoundError as error:
            raise MissingError(
                "obstore", "not installed, and a bucket needs it", "pip install 'eimf[bucket]'"
            ) from error
        try:
            return call(obstore, self._connected())
        except (FileNotFoundError, AlreadyExistsError) as error:
            if "NoSuchBucket" in str(error):
                raise self._error(action, name, error) from error
            raise
        except (BaseError, PermissionError, OSError) as error:
            raise self._error(action, name, error) from error

    def _connected(self) -> Any:
        from obstore.store import S3Store

        if self._process != os.getpid():
            raise ArtifactError(self.address, "opened by the process that this one was forked off", "open it here")
        if self._client is None:
            self._client = S3Store(
                self._bucket, prefix=self._prefix or None, retry_config={"max_retries": self.retries}
            )
        return self._client

    def _error(self, action: str, name: str, error: Exception) -> ArtifactError:
        text = str(error).partition("Debug source")[0]
        for sign, problem, hint in _FAULTS:
            if sign in text:
                return ArtifactError(self.address, problem, hint)
        if "403 Forbidden" in text or "AccessDenied" in text:
            hint = "ask for it, or use other credentials (AWS_ACCESS_KEY_ID)"
            return ArtifactError(self.address, f"no right to {action} {name or 'it'}", hint)
        return ArtifactError(self.place(name), f"cannot {action} it ({on_one_line(error)})", "try again")


def _path(row: Any) -> str:
    return str(row["path"])
