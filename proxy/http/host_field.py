"""The Host header (RFC 9112 §3.2). No I/O."""

import re

from proxy.refusals import BAD_REQUEST, Refused

_HOST = re.compile(
    rb"([A-Za-z0-9_~-]++(?>(?:\.[A-Za-z0-9_~-]++)*)|\[[0-9A-Fa-f:.]++\])(\.?)((?::[0-9]{1,5})?)\Z"
)  # the quantifiers are possessive, so that a long value costs linear time
_MAX_BYTES = 270
"""A host name has at most 253 characters (RFC 1035 §2.3.4). A final dot and a port can follow."""
_NO_HOST = BAD_REQUEST.because(
    "The request has no Host header. Send one that contains the host name, and the port if it is not the default one."
)
_HOSTS = BAD_REQUEST.because("The request has more than one Host header. Send only one.")
_INVALID_HOST = BAD_REQUEST.because(
    "The Host header does not contain a host name or an IP address. Send it without a scheme, user name or path, in "
    "ASCII, with at most one dot at the end of the name, and with an IPv6 address in brackets: `data.example`, "
    "`data.example:8080`, `[::1]:8080`."
)


def check_host(values: list[bytes]) -> bytes:
    """Return the value of the one Host header, without a dot that ends the host name (RFC 1034 §3.1).

    Raises Refused if it is missing, duplicated or not a host.
    """
    if len(values) != 1:
        raise Refused(_HOSTS if values else _NO_HOST)
    host = _HOST.match(values[0]) if len(values[0]) <= _MAX_BYTES else None
    if host is None:
        raise Refused(_INVALID_HOST)
    return host[1] + host[3] if host[2] else values[0]
