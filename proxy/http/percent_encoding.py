"""Percent-decoding (RFC 3986 §2.1), strict and lenient, in linear time. No I/O."""

import re
from binascii import a2b_qp

from proxy.refusals import AMBIGUOUS_REQUEST, Refused

_MAX_ROUNDS = 4
_MAX_UNICODE_ESCAPES = 64
_MAX_BARE_PERCENTS = 256
"""Each `%` that does not begin an escape makes decoding expensive."""

# `37 in raw` is much faster than `b"%" in raw`: CPython first tries to convert the operand to a number, which fails for
# bytes.
PERCENT, PLUS = ord("%"), ord("+")
_LF, _CR = ord("\n"), ord("\r")

_HEX = b"0123456789abcdefABCDEF"
_KINDS = bytes(ord("h") if byte in _HEX else byte if byte == ord("%") else 0 for byte in range(256))
_FLIPS = bytes(ord("%") ^ ord("=") if byte == ord("=") else 0 for byte in range(256))
_UNICODE_ESCAPE = re.compile(rb"%[uU]([0-9A-Fa-f]{4})")

TOO_DEEP = AMBIGUOUS_REQUEST.because(
    "A part of the path, the query or a cookie is percent-encoded several times over, and servers differ in how often "
    "they decode it. Encode each part once."
)
_UNICODE_ESCAPES = AMBIGUOUS_REQUEST.because(
    f"The path, the query or a cookie contains more than {_MAX_UNICODE_ESCAPES} escapes of the form `%uXXXX`, which "
    "only some servers decode. Percent-encode the characters as UTF-8."
)
_BARE_PERCENTS = AMBIGUOUS_REQUEST.because(
    f"The path, the query or a cookie contains more than {_MAX_BARE_PERCENTS} `%` that do not begin an escape. Send "
    "`%25` for a `%`."
)


def decode(raw: bytes) -> bytes:
    """Decode every valid escape once. A `%` that does not begin an escape is kept.

    The standard library's percent-decoder takes up to a microsecond per escape, and clients can send thousands. So this
    uses the standard library's quoted-printable decoder (RFC 2045 §6.7), which is written in C. Its escapes begin with
    `=` instead of `%`.
    """
    escapes = raw.count(b"%")
    if not escapes:
        return raw
    coded = raw.replace(b"=", b"%3D")
    # The quoted-printable decoder drops a `=` at the end of a line.
    if (_LF not in raw and _CR not in raw) or (b"%\n" not in raw and b"%\r" not in raw):
        decoded = a2b_qp(coded.replace(b"%", b"="))
        # Each escape becomes two bytes shorter. A `%` that does not begin an escape shrinks by less.
        if len(decoded) == len(raw) - 2 * escapes:
            return decoded
    # Replace each `%` that begins an escape by `=`. The XOR of two large numbers does this for all of them at once.
    flips = coded.translate(_KINDS).replace(b"%hh", b"=hh").translate(_FLIPS)
    flipped = int.from_bytes(coded, "big") ^ int.from_bytes(flips, "big")
    return a2b_qp(flipped.to_bytes(len(coded), "big"))


def decode_leniently(raw: bytes) -> bytes:
    """Decode once, including `%uXXXX`, as IIS and JavaScript's `unescape` do."""
    decoded = decode(raw)
    if len(decoded) == len(raw) - 2 * raw.count(b"%"):
        return decoded  # every `%` begins an escape with two digits, so there is no `%uXXXX`
    if b"%u" in raw or b"%U" in raw:
        if raw.count(b"%u") + raw.count(b"%U") > _MAX_UNICODE_ESCAPES:
            raise Refused(_UNICODE_ESCAPES)
        raw = _UNICODE_ESCAPE.sub(lambda escape: chr(int(escape[1], 16)).encode("utf-8", "surrogatepass"), raw)
        return decode(raw)
    return decoded


def rounds(raw: bytes, most: int = _MAX_ROUNDS) -> list[bytes]:
    """Return `raw`, then `raw` decoded once, twice and so on, until nothing is left to decode.

    Raises Refused after `most` rounds.
    """
    found = [raw]
    while PERCENT in raw:
        decoded = decode_leniently(raw)
        if has_many_bare_percents(raw, decoded):
            raise Refused(_BARE_PERCENTS)
        if decoded == raw:
            break
        if len(found) > most:
            raise Refused(TOO_DEEP)
        found.append(decoded)
        raw = decoded
    return found


def has_many_bare_percents(raw: bytes, decoded: bytes) -> bool:
    """Return whether `raw` has so many `%` that begin no escape that further decoding would be expensive."""
    percents = raw.count(b"%")
    return percents > _MAX_BARE_PERCENTS and len(decoded) > len(raw) - 2 * percents


def text(raw: bytes) -> str:
    """Return bytes as text. Bytes that are not UTF-8 become text that cannot equal any site id."""
    return raw.decode("utf-8", "surrogateescape")
