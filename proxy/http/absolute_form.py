"""Request targets in absolute form, `http://HOST/PATH`, which clients send to proxies (RFC 9112 §3.2.2). No I/O."""

import re

from proxy.http.host_field import check_host
from proxy.refusals import BAD_REQUEST, Refused

ASTERISK = b"*"
_ABSOLUTE = re.compile(rb"(https?)://([^/?]*+)(.*)\Z", re.IGNORECASE | re.DOTALL)
_DEFAULT_PORTS = {b"http": b":80", b"https": b":443"}

_OTHER_FORM = BAD_REQUEST.because(
    "The request target does not begin with `/`, and is not a URL with `http://` or `https://`. Send the path and the "
    "query."
)
_USER_NAME = BAD_REQUEST.because(
    "The request target is a URL with a user name. Send the path and the query, and credentials in a header."
)
_HOSTS_DIFFER = BAD_REQUEST.because(
    "The request target is a URL whose host or port differs from the Host header. Send the path and the query, or the "
    "same host and port in both."
)
_NO_HOST = BAD_REQUEST.because(
    "The request target is a URL, but the request has no Host header to compare it with. Send the path and the query, "
    "or a Host header with the same host and port."
)


def origin_form(method: bytes, target: bytes, host: bytes) -> bytes:
    """Return the path and the query of a target in absolute form, or `*` if its URL stands for the whole server.

    `host` is the checked Host header, or nothing. Raises Refused unless the target's authority is the same host and
    port. The scheme only says what the default port is, because a proxy in front may have removed TLS.
    """
    url = _ABSOLUTE.match(target)
    if url is None:
        raise Refused(_OTHER_FORM)
    scheme, authority, rest = url.groups()
    if b"@" in authority:
        raise Refused(_USER_NAME)
    if not host:
        raise Refused(_NO_HOST)
    port = _DEFAULT_PORTS[scheme.lower()]
    try:
        named = check_host([authority])
    except Refused:
        raise Refused(_HOSTS_DIFFER) from None
    if named.lower().removesuffix(port) != host.lower().removesuffix(port):
        raise Refused(_HOSTS_DIFFER)
    if not rest and method == b"OPTIONS":
        return ASTERISK  # RFC 9112 §3.2.4
    return rest if rest.startswith(b"/") else b"/" + rest
