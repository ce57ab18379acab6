"""Percent-decoding (RFC 3986 §2.1), strict and lenient, in time that is linear in the input. No I/O."""

import re
from binascii import a2b_qp

from proxy.refusals import AMBIGUOUS_REQUEST, Refused

_MAX_ROUNDS = 4
_MAX_UNICODE_ESCAPES = 64

_NOT_AN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_UNICODE_ESCAPE = re.compile(rb"%[uU]([0-9A-Fa-f]{4})")

TOO_DEEP = AMBIGUOUS_REQUEST.because(
    "The request's address is percent-encoded several times over. Encode each part of it once."
)


def decode(raw: bytes) -> bytes:
    """Decode every valid escape once; a `%` that begins none stays."""
    if b"%" not in raw:
        return raw
    # The standard library decodes quoted-printable in C and percent-encoding in a Python loop, and the two differ only
    # in the escape character. The loop takes 20 times as long, which a client could make us spend.
    quoted = _NOT_AN_ESCAPE.sub(b"=25", raw.replace(b"=", b"=3D")).replace(b"%", b"=")
    return a2b_qp(quoted)


def decode_leniently(raw: bytes) -> bytes:
    """Decode once, `%uXXXX` too, as IIS and JavaScript's `unescape` do."""
    if b"%u" in raw or b"%U" in raw:
        if raw.count(b"%u") + raw.count(b"%U") > _MAX_UNICODE_ESCAPES:
            raise Refused(TOO_DEEP)
        raw = _UNICODE_ESCAPE.sub(lambda escape: chr(int(escape[1], 16)).encode("utf-8", "surrogatepass"), raw)
    return decode(raw)


def rounds(raw: bytes) -> list[bytes]:
    """Return `raw`, then `raw` decoded once, twice, … until nothing is left to decode. Raises Refused past a bound."""
    found = [raw]
    while b"%" in raw:
        decoded = decode_leniently(raw)
        if decoded == raw:
            break
        if len(found) > _MAX_ROUNDS:
            raise Refused(TOO_DEEP)
        found.append(decoded)
        raw = decoded
    return found


def text(raw: bytes) -> str:
    """Return bytes as text. Bytes that are not UTF-8 become text that no site id equals."""
    return raw.decode("utf-8", "surrogateescape")
