"""Removes API keys and admin tokens from everything that is logged, however they are encoded."""

import re
from typing import Final

from proxy.http.percent_encoding import PERCENT, decode_if_cheap, has_escapes

_UNDERSCORE: Final = ord("_")
MASK: Final = "***"
_SECRET = re.compile(r"sl[ka]_[0-9a-z_-]{6,}", re.IGNORECASE)
"""Matches Sitelatch's API keys and admin tokens, ignoring case, even truncated ones, because a part is secret too."""
_SECRET_IN_LOWER_CASE = re.compile(rb"sl[ka]_[0-9a-z_-]{6}")

# Limits, because clients choose how much text there is to check, and checking takes time.
_DECODING_ROUNDS: Final = 6
_MAX_DOUBLE_ENCODED_BYTES: Final = 1024
"""Text with more bytes is masked without a check if it is encoded twice."""
_MAX_SEGMENTS: Final = 32
"""If a path with more segments contains a secret, the whole path is masked. In other paths, only the segments with a
secret are masked."""
_MAX_SITES: Final = 32
"""Further sites are left out of the log line."""
_MAX_SITE_LENGTH: Final = 256
"""The maximum length of a site id. Longer text is masked."""


def mask(text: str) -> str:
    """Return `text` with every API key and admin token masked."""
    return _SECRET.sub(MASK, text)


def public_path(path: bytes) -> str:
    """Return the path of a target for the log: without the query, and with segments that contain a secret masked."""
    # The target may be malformed. Then it may be a complete URL with a user name and password.
    path = path.partition(b"?")[0]
    if not path.startswith(b"/"):
        path = path.rpartition(b"@")[2]
    if _contains_secret(path):
        segments = path.split(b"/")
        if len(segments) > _MAX_SEGMENTS:
            return MASK
        path = b"/".join([MASK.encode() if _contains_secret(segment) else segment for segment in segments])
    return path.decode("latin-1")


def public_sites(sites: tuple[str, ...]) -> list[str]:
    """Return site ids for the log, with secrets masked. In a refused request, a misplaced key can look like a site."""
    if len(sites) == 1 and len(sites[0]) <= _MAX_SITE_LENGTH and sites[0].isalnum():
        return [sites[0]]  # neither an encoded secret nor a whole one
    shown = [site if len(site) <= _MAX_SITE_LENGTH else MASK for site in sites[:_MAX_SITES]]
    text = "\n".join(shown)
    if ("%" in text or "_" in text) and _contains_secret(_bytes(text)):
        # A site id contains no `%`. Decoding each name would take long.
        shown = [MASK if "%" in site or _contains_secret(_bytes(site)) else site for site in shown]
    if len(sites) > _MAX_SITES:
        shown.append("…")
    return shown


def _bytes(site: str) -> bytes:
    return site.encode("utf-8", "surrogatepass")


def _contains_secret(raw: bytes) -> bool:
    if PERCENT not in raw and _UNDERSCORE not in raw:
        return False
    first = raw
    for _ in range(_DECODING_ROUNDS):
        lower = raw.lower()
        if (b"slk_" in lower or b"sla_" in lower) and _SECRET_IN_LOWER_CASE.search(lower):
            return True
        if PERCENT not in raw:
            return False
        if len(raw) > _MAX_DOUBLE_ENCODED_BYTES and raw is not first:
            return has_escapes(raw)
        decoded = decode_if_cheap(raw)
        if decoded is None:
            return True
        if decoded == raw:
            return False
        raw = decoded
    return True  # ordinary requests are not encoded that many times
