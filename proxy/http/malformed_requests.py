"""Why a request is not well-formed HTTP/1.1: one refusal for each fault, which says what to send instead. No I/O.

llhttp says only that a head is malformed, so `why_malformed` looks for the fault once llhttp has refused a head.
"""

import itertools
import re
from collections.abc import Iterator, Set

from proxy.refusals import BAD_REQUEST, Refusal

# The beginning of the connection.
_TLS = BAD_REQUEST.because(
    "The connection begins with a TLS handshake, but this address serves plain HTTP. Use a URL that begins with "
    "`http://`, or the address that serves HTTPS."
)
PROXY_PROTOCOL = BAD_REQUEST.because(
    "The connection begins with the PROXY protocol, which is not supported. Turn it off in the load balancer, and let "
    "it send `X-Forwarded-For`."
)

# The request line (RFC 9112 §3).
_METHOD = BAD_REQUEST.because(
    "The request line does not begin with a method. Send the method, the target and `HTTP/1.1`, separated by one space."
)
REQUEST_LINE = BAD_REQUEST.because(
    "The request line does not consist of a method, a target and `HTTP/1.1`, separated by one space. Send exactly "
    "these three, and encode a space in the target as `%20`."
)
_TARGET_START = BAD_REQUEST.because(
    "The request target does not begin with `/` and is not a complete URL. Send the path and the query."
)
_TARGET_BYTES = BAD_REQUEST.because(
    "The request target contains a control character, or a byte outside ASCII before the query. Percent-encode it, as "
    "UTF-8."
)
_VERSION = BAD_REQUEST.because("The request line does not end with `HTTP/1.1` or `HTTP/1.0`. Send one of these.")

# Header lines (RFC 9112 §5).
_BARE_LF = BAD_REQUEST.because(
    "A line of the request head ends with a line feed alone. End each line with a carriage return and a line feed."
)
_BARE_CR = BAD_REQUEST.because(
    "A line of the request head contains a carriage return without a line feed after it. End each line with both, and "
    "remove carriage returns from header values."
)
_FOLDED = BAD_REQUEST.because(
    "A header line begins with white space, which continued the line before it in old versions of HTTP. Write each "
    "header on one line."
)
_NO_COLON = BAD_REQUEST.because("A header line has no colon. Write it as `Name: value`.")
_NO_NAME = BAD_REQUEST.because("A header line begins with a colon. Write a name before it.")
_SPACE_IN_NAME = BAD_REQUEST.because(
    "A header has white space in its name, or between its name and the colon. Remove it: `Name: value`."
)
_NAME = BAD_REQUEST.because("The name of a header contains an invalid character. Use letters, digits and `-`.")
_CONTROL_IN_VALUE = BAD_REQUEST.because("The value of a header contains a control character. Remove or encode it.")
_URL = BAD_REQUEST.because("The request target is a URL whose host is not valid. Send the path and the query only.")
_HEAD = BAD_REQUEST.because(
    "The request head breaks a rule of HTTP/1.1. Send each header as `Name: value`, and at most one Content-Length or "
    "Transfer-Encoding."
)

# Framing (RFC 9112 §6), and Connection.
MAX_LENGTH_DIGITS = 18
"""The maximum number of digits of Content-Length: 19 digits could overflow 64 bits in a backend."""
LENGTHS = BAD_REQUEST.because("The request has more than one Content-Length. Send it once, with one number.")
LENGTH = BAD_REQUEST.because(
    f"Content-Length is not a plain number of at most {MAX_LENGTH_DIGITS} digits. Send the number of bytes in "
    "the body, in digits only."
)
LENGTH_AND_CODING = BAD_REQUEST.because(
    "The request has both Content-Length and Transfer-Encoding, so servers may disagree on where its body ends. Send "
    "only one of them."
)
CODING = BAD_REQUEST.because(
    "Transfer-Encoding has a value other than `chunked`, or occurs more than once. Send `Transfer-Encoding: chunked` "
    "once."
)
CODING_OF_1_0 = BAD_REQUEST.because(
    "The request has Transfer-Encoding, but its version is HTTP/1.0. Use HTTP/1.1, or send Content-Length."
)
FRAMING_LOOK_ALIKE = BAD_REQUEST.because(
    "The request has a header that some servers read as Content-Length or Transfer-Encoding, but whose name is spelled "
    "differently. Spell these names with letters and `-` only."
)
MAX_CONNECTION_BYTES = 1024
"""Real clients send shorter lists in Connection, and each member takes time to check."""
LONG_CONNECTION = BAD_REQUEST.because(
    f"The Connection header is longer than {MAX_CONNECTION_BYTES} bytes. List only the headers that are for this "
    "connection."
)


def malformed_body(fault: str) -> Refusal:
    """Return the refusal of a request whose chunked body is malformed. `fault` is the text of a FramingError."""
    return BAD_REQUEST.because(
        f"The chunked body is malformed: {fault}. Send each chunk as its size in hexadecimal digits, CRLF, that many "
        "bytes, and CRLF."
    )


_TLS_RECORD = b"\x16"
"""The type of a TLS record that holds a handshake."""
_PROXY_V2 = b"\r\n\x00\r\nQUIT\n"
"""How version 2 of the PROXY protocol begins, after the empty line that `RequestReader` ignores."""
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]*+")
_LONGEST_METHOD = 64
_MOST_LINES = 128
"""The number of header lines that are searched for a fault. Reading thousands of short lines would take too long."""
_TARGET = re.compile(rb"[\x21-\x3E\x40-\x7E]*+(?>(?:\?[\x21-\x7E\x80-\xFF]*+)?)")
_START_OF_TARGET = re.compile(rb"/|\*(?: |\Z)|[A-Za-z]++(?::(?:/(?:/|\Z)|\Z)|\Z)")
_VERSIONS = (b"HTTP/1.1", b"HTTP/1.0")
_VALUE = re.compile(rb"[\t\x20-\x7E\x80-\xFF]*+")


def why_malformed(head: bytes) -> Refusal:
    """Return the refusal of a head, or of the first part of one, that llhttp refused.

    It names the first fault in the order of the bytes, so that it does not depend on how many of them have arrived.
    """
    if head.startswith(_TLS_RECORD):
        return _TLS
    if head.startswith((_PROXY_V2, b"\r\n" + _PROXY_V2)):
        return PROXY_PROTOCOL
    lines = _lines(head)
    first = next(lines)
    if fault := _fault_in_request_line(first):
        return fault
    names: set[bytes] = set()
    for line in itertools.islice(lines, _MOST_LINES):
        if line == b"\r\n":
            break
        name, colon, _ = line.partition(b":")
        name = name.lower()
        if fault := (_fault_in_framing(name, names) if colon else None) or _fault_in_field(line):
            return fault
        names.add(name)
    # llhttp is stricter than this function only about these.
    if b"transfer-encoding" in names:
        return CODING
    return _HEAD if first.partition(b" ")[2].startswith((b"/", b"*")) else _URL


def _lines(head: bytes) -> Iterator[bytes]:
    """Yield the lines with their line feeds. The last one may be incomplete."""
    at = 0
    while end := head.find(b"\n", at) + 1:
        yield head[at:end]
        at = end
    yield head[at:]


def _fault_in_request_line(line: bytes) -> Refusal | None:
    """Return the first fault in a request line, which may be incomplete."""
    at = _end(_TOKEN, line, 0)
    if at == 0 or at > _LONGEST_METHOD or line[at : at + 1] not in (b" ", b""):
        return _METHOD
    begin = at + 1
    if line[begin : begin + 1] in (b" ", b"\r", b"\n"):
        return REQUEST_LINE
    if begin < len(line) and not _START_OF_TARGET.match(line, begin):
        return _TARGET_START
    at = _end(_TARGET, line, begin)
    if line[at : at + 1] in (b"\r", b"\n"):
        return REQUEST_LINE
    if line[at : at + 1] not in (b" ", b""):
        return _TARGET_BYTES
    version, rest = line[at + 1 : at + 9], line[at + 9 :]
    if not any(known.startswith(version) for known in _VERSIONS):
        return _VERSION if version.startswith(b"H") else REQUEST_LINE
    return _fault_at_end(rest, REQUEST_LINE if rest.startswith(b" ") else _VERSION)


def _fault_in_field(line: bytes) -> Refusal | None:
    """Return the first fault in a header line, which may be incomplete."""
    at = _end(_TOKEN, line, 0)
    mark = line[at : at + 1]
    if mark in (b" ", b"\t"):
        return _SPACE_IN_NAME if at else _FOLDED
    if mark in (b"\r", b"\n"):
        return _NO_COLON
    if mark != b":":
        return _NAME if mark else None
    if at == 0:
        return _NO_NAME
    end = _end(_VALUE, line, at + 1)
    name, value, rest = line[:at].lower(), line[at + 1 : end].strip(b" \t"), line[end:]
    if name == b"content-length" and (value or rest) and (not value.isdigit() or len(value) > MAX_LENGTH_DIGITS):
        return LENGTH
    if name == b"transfer-encoding" and rest and value.lower() != b"chunked":
        return CODING
    return _fault_at_end(rest, _CONTROL_IN_VALUE)


def _fault_at_end(rest: bytes, other: Refusal) -> Refusal | None:
    """Return the fault at the end of a line. `other` is the refusal of an invalid character."""
    if rest in (b"", b"\r", b"\r\n"):
        return None
    if rest == b"\n":
        return _BARE_LF
    return _BARE_CR if rest.startswith(b"\r") else other


def _fault_in_framing(name: bytes, before: Set[bytes]) -> Refusal | None:
    """Return the fault of a Content-Length or Transfer-Encoding after headers with the names `before`."""
    if name == b"content-length":
        return LENGTHS if name in before else LENGTH_AND_CODING if b"transfer-encoding" in before else None
    if name == b"transfer-encoding":
        return CODING if name in before else LENGTH_AND_CODING if b"content-length" in before else None
    return None


def _end(pattern: re.Pattern[bytes], line: bytes, at: int) -> int:
    found = pattern.match(line, at)
    return at if found is None else found.end()
