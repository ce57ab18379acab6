"""Classifies request fields by the spelling of their names. No I/O."""

import re
from collections.abc import Sequence
from typing import Literal

from proxy.http.drop_headers import DropHeaders
from proxy.http.headers import (
    CONTENT_LENGTH,
    FOLDED,
    FORWARDING,
    MALFORMED,
    NEVER,
    ODD,
    PLAIN,
    REQUEST_KINDS,
    TRANSFER_ENCODING,
    Spellings,
    fold_name,
)
from proxy.http.steering_headers import steers_backends

# nginx also forwards these names by default (`ignore_invalid_headers on`, `underscores_in_headers off`).
_FORWARDED_NAMES = {
    "drop": re.compile(rb"[A-Za-z0-9-]+\Z"),
    "pass": re.compile(rb"[A-Za-z0-9_-]+\Z"),
}


def why_never_forwarded(name: str) -> str:
    """Return why a client's header with this name is never forwarded, or "" if the settings decide."""
    folded = fold_name(name.encode())
    if folded in REQUEST_KINDS:
        return "HTTP needs it, or Sitelatch sets or removes it"
    if steers_backends(folded):
        return "it makes some backends serve another path or host (docs/backends.md)"
    return ""


class RequestSpellings(Spellings):
    """The kind of each request field, which depends on `header_underscores` and `drop_headers` of `[proxy]`."""

    def __init__(self, underscores: Literal["drop", "pass"] = "drop", drop_headers: Sequence[str] = ()) -> None:
        """Raises ValueError on an entry of `drop_headers` that cannot be dropped."""
        super().__init__(self._kind_of)
        self._forwarded_name = _FORWARDED_NAMES[underscores]
        self._drop = DropHeaders(drop_headers)

    def _kind_of(self, name: bytes) -> int:
        folded = FOLDED[name]
        kind = REQUEST_KINDS.get(folded, PLAIN)
        if kind != PLAIN and name.lower() == folded:
            return NEVER if kind == FORWARDING and self._drop.covers(folded) else kind
        # CGI, WSGI and PHP read `_` as `-` (CVE-2025-64484). So with `_` in the name, such backends also accept framing
        # headers, and headers that Sitelatch sets or drops.
        if kind in (CONTENT_LENGTH, TRANSFER_ENCODING):
            return MALFORMED
        if not self._forwarded_name.match(name):
            return ODD
        return NEVER if kind != PLAIN or steers_backends(folded) or self._drop.covers(folded) else PLAIN

    def forwards(self, name: str) -> bool:
        """Return whether a client's header of this name is forwarded."""
        return self[name.encode()] == PLAIN
