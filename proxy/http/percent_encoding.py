"""Percent-decoding (RFC 3986 §2.1), strict and lenient, in linear time. No I/O."""

import re
from binascii import a2b_qp
from collections.abc import Callable

from proxy.refusals import AMBIGUOUS_REQUEST, Refused

MAX_ROUNDS = 4
_MAX_UNICODE_ESCAPES = 64
_MAX_PERCENTS = 256
"""In a text with more `%`, each must begin an escape, because decoding others is expensive."""

# `37 in raw` is much faster than `b"%" in raw`: CPython first tries to convert the operand to a number, which fails for
# bytes.
PERCENT, PLUS, EQUALS = ord("%"), ord("+"), ord("=")
_LF, _CR = ord("\n"), ord("\r")

_HEX = b"0123456789abcdefABCDEF"
_KINDS = bytes(ord("h") if byte in _HEX else byte if byte == ord("%") else 0 for byte in range(256))
_SWAP = bytes.maketrans(b"%=", b"=%")
_UNICODE_ESCAPE = re.compile(rb"%[uU]([0-9A-Fa-f]{4})")

TOO_DEEP = AMBIGUOUS_REQUEST.because(
    "A part of the path, the query or a cookie is percent-encoded several times over, and servers differ in how often "
    "they decode it. Encode each part once."
)
_UNICODE_ESCAPES = AMBIGUOUS_REQUEST.because(
    f"The path, the query or a cookie contains more than {_MAX_UNICODE_ESCAPES} escapes of the form `%uXXXX`, which "
    "only some servers decode. Percent-encode the characters as UTF-8."
)
BARE_PERCENTS = AMBIGUOUS_REQUEST.because(
    f"The path, the query or a cookie contains more than {_MAX_PERCENTS} `%`, and some of them do not begin an escape. "
    "Send `%25` for a `%`."
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
    if EQUALS not in raw and _LF not in raw and _CR not in raw:
        decoded = a2b_qp(raw.replace(b"%", b"="))
        # Each escape becomes two bytes shorter. A `%` that does not begin an escape shrinks by less.
        if len(decoded) == len(raw) - 2 * escapes:
            return decoded
    # The quoted-printable decoder drops a `=` before another one, at the end of a line, and at the end of the text. In
    # these places, each `%` becomes an escape first.
    while b"%%" in raw:
        raw = raw.replace(b"%%", b"%25%")
    if _LF in raw or _CR in raw:
        raw = raw.replace(b"%\n", b"%25\n").replace(b"%\r", b"%25\r")
    if raw.endswith(b"%"):
        raw += b"25"
    # Swap `%` and `=`, and their escapes too, so that swapping again afterwards restores all of them.
    if b"%3" in raw:
        raw = raw.replace(b"%3D", b"%3d").replace(b"%25", b"%3D").replace(b"%3d", b"%25")
    else:
        raw = raw.replace(b"%25", b"%3D")
    return a2b_qp(raw.translate(_SWAP)).translate(_SWAP)


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


def decode_if_cheap(raw: bytes, decoder: Callable[[bytes], bytes] = decode) -> bytes | None:
    """Decode once. Return None if there are many `%` and some begin no escape, because decoding these is expensive."""
    percents = raw.count(b"%")
    if percents > _MAX_PERCENTS and b"%%" in raw:
        return None
    decoded = decoder(raw)
    # Each escape becomes two bytes shorter.
    return None if percents > _MAX_PERCENTS and len(decoded) > len(raw) - 2 * percents else decoded


def rounds(raw: bytes, most: int = MAX_ROUNDS) -> list[bytes]:
    """Return `raw`, then `raw` decoded once, twice and so on, until nothing is left to decode.

    Raises Refused after `most` rounds.
    """
    found = [raw]
    while PERCENT in raw:
        decoded = decode_if_cheap(raw, decode_leniently)
        if decoded is None:
            raise Refused(BARE_PERCENTS)
        if decoded == raw:
            break
        if len(found) > most:
            raise Refused(TOO_DEEP)
        found.append(decoded)
        raw = decoded
    return found


_LOW_ESCAPES = [b"%%%d" % digit for digit in range(8)]
_NESTED_HIGH_ESCAPE = re.compile(rb"%(?:25)+(?=[89A-Fa-f][0-9A-Fa-f])")


def without_foreign_bytes(raw: bytes) -> list[bytes]:
    """Return ASCII text without the escapes that are not UTF-8, in each way in which a server may drop them.

    Bottle decodes paths like this. The first way reads each escape once, the second one as deeply as possible.
    """
    found: dict[bytes, None] = {}
    for spelled in dict.fromkeys((raw, _NESTED_HIGH_ESCAPE.sub(b"%", raw) if b"%25" in raw else raw)):
        high = spelled
        for escape in _LOW_ESCAPES:
            high = high.replace(escape, b"%25" + escape[1:])
        decoded = decode(high)
        if not is_utf_8(decoded):
            found[decoded.decode(errors="ignore").encode()] = None
    return list(found)


def is_utf_8(raw: bytes) -> bool:
    """Return whether bytes are UTF-8."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def has_escapes(raw: bytes) -> bool:
    """Return whether a `%` begins an escape."""
    return b"%hh" in raw.translate(_KINDS)


def text(raw: bytes) -> str:
    """Return bytes as text. Bytes that are not UTF-8 become text that cannot equal any site id."""
    return raw.decode("utf-8", "surrogateescape")
