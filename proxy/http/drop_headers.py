"""`drop_headers`: request headers that a deployer keeps from the upstream. No I/O."""

import re
from collections.abc import Iterable

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
    """Header names, and beginnings of names that end in `*`. They cover every spelling that a lenient backend reads."""

    __slots__ = ("_names", "_prefixes")

    def __init__(self, entries: Iterable[str]) -> None:
        """Raises ValueError, with the reason, on an entry that is not a name or that must be forwarded."""
        self._names: set[bytes] = set()
        prefixes = []
        for entry in entries:
            if not _ENTRY.match(entry):
                raise ValueError(f'{entry!r} is not a header name; write a name like "X-Tenant", or "X-Tenant-*"')
            folded = fold_name(entry.rstrip("*").encode())
            if entry.endswith("*"):
                prefixes.append(folded)
            else:
                self._names.add(folded)
            _refuse_needed(entry, folded)
        self._prefixes = tuple(prefixes)

    def covers(self, folded: bytes) -> bool:
        """Tell whether a folded name (`heads.fold_name`) is dropped."""
        return folded in self._names or folded.startswith(self._prefixes)

    def remaining(self, fields: Fields) -> Fields:
        """Return the fields that are not dropped."""
        if not self._names and not self._prefixes:
            return fields
        return [field for field in fields if not self.covers(FOLDED[field[0]])]


def _refuse_needed(entry: str, folded: bytes) -> None:
    for name in (*_NEEDED, *_SET_BY_SITELATCH):
        if name == folded or (entry.endswith("*") and name.startswith(folded)):
            why = "HTTP itself needs it" if name in _NEEDED else "Sitelatch sets it, and never forwards a client's own"
            raise ValueError(f"{entry!r} covers {name.decode()}, which cannot be dropped: {why}")
