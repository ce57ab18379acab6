"""The Host header (RFC 9112 §3.2). No I/O."""

import re

from proxy.refusals import BAD_REQUEST, Refused

_HOST = re.compile(
    rb"([A-Za-z0-9_~-]++(?:\.[A-Za-z0-9_~-]++)*+|\[[0-9A-Fa-f:.]++\])(\.?)((?::[0-9]{1,5})?)\Z"
)  # the quantifiers are possessive, so that a long value costs linear time
_MAX_BYTES = 270
"""A host name has at most 253 characters (RFC 1035 §2.3.4). A final dot and a port can follow."""
_BAD_HOST = BAD_REQUEST.because("The request needs one Host header that contains a host name or address.")


def check_host(values: list[bytes]) -> bytes:
    """Return the value of the one Host header, without a dot that ends the host name (RFC 1034 §3.1).

    Raises Refused if it is missing, duplicated or not a host.
    """
    host = _HOST.match(values[0]) if len(values) == 1 and len(values[0]) <= _MAX_BYTES else None
    if host is None:
        raise Refused(_BAD_HOST)
    return host[1] + host[3] if host[2] else values[0]
