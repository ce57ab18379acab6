"""`drop_headers`: request headers that the config excludes from forwarding. No I/O."""

import re
from collections.abc import Iterable

from proxy.http.header_name_set import HeaderNameSet
from proxy.http.headers import FOLDED, Fields, fold_name

_ENTRY = re.compile(r"[!#$%&'+\-.^_`|~0-9A-Za-z]+\*?\Z")

_NEEDED = (
    b"connection",
    b"content-encoding",
    b"content-length",
    b"content-type",
    b"expect",
    b"host",
    b"keep-alive",
    b"sec-websocket-key",
    b"sec-websocket-version",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
)
_SET_BY_SITELATCH = (
    b"x-api-sites",
    b"x-api-user-id",
    b"x-api-workspace",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-proto",
    b"x-request-id",
)


class DropHeaders:
    """The header names of `drop_headers`, and prefixes of names that end in `*`."""

    __slots__ = ("_dropped",)

    def __init__(self, entries: Iterable[str]) -> None:
        """Raises ValueError on an entry that is not a header name, or that covers a header that cannot be dropped."""
        self._dropped = HeaderNameSet([_checked(entry) for entry in entries])

    def covers(self, folded: bytes) -> bool:
        """Return whether a folded name (`headers.fold_name`) is dropped."""
        return self._dropped.covers(folded)

    def remaining(self, fields: Fields) -> Fields:
        """Return the fields that are not dropped."""
        if not self._dropped:
            return fields
        return [field for field in fields if not self.covers(FOLDED[field[0]])]


def _checked(entry: str) -> bytes:
    """Return a valid entry, folded."""
    if not _ENTRY.match(entry):
        raise ValueError(f'{entry!r} is not a header name; write a name like "X-Tenant", or "X-Tenant-*"')
    folded = fold_name(entry.rstrip("*").encode())
    _refuse_needed(entry, folded)
    return folded + b"*" if entry.endswith("*") else folded


def _refuse_needed(entry: str, folded: bytes) -> None:
    for name in (*_NEEDED, *_SET_BY_SITELATCH):
        if name == folded or (entry.endswith("*") and name.startswith(folded)):
            why = "HTTP itself needs it" if name in _NEEDED else "Sitelatch sets it, and drops a client's value"
            raise ValueError(f"{entry!r} covers {name.decode()}, which cannot be dropped: {why}")
