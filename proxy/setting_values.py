"""Checks and types of single values in the config, such as methods, origins and URLs of upstreams."""

import os
import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from sql.dsn.hosts import MAX_SOCKET_PATH

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0)]

NEVER_FORWARDED = {
    "CONNECT": "it opens a tunnel, and Sitelatch is not a forward proxy",
    "PRI": "it starts an HTTP/2 connection (RFC 9113 §3.4)",
    "TRACE": "its response repeats the request, with the headers that Sitelatch adds (RFC 9110 §9.3.8)",
}


# A token (RFC 9110 §9.1), without lowercase letters, because a backend that ignores case would see a different method,
# and without `*`, which means every method in `refuse`.
_METHOD = re.compile(r"[A-Z0-9!#$%&'+.^_`|~-]{1,64}\Z")


def check_method(method: str) -> str:
    """Return the method if it may be forwarded. Raises ValueError otherwise."""
    if not _METHOD.match(method):
        raise ValueError(f'{method!r} is not a valid method. Write it in uppercase, such as "PROPFIND"')
    if method in NEVER_FORWARDED:
        raise ValueError(f"{method} is never forwarded: {NEVER_FORWARDED[method]}")
    return method


Method = Annotated[str, AfterValidator(check_method)]

_LAST_PORT = 65535
# An origin as browsers serialize it: in lowercase, without a path, and without a default port.
_ORIGIN = re.compile(
    r"[a-z][a-z0-9+.-]*://(?P<host>[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?|\[[0-9a-f:.]+\])(?::(?P<port>[1-9][0-9]{0,4}))?\Z"
)
DEFAULT_PORTS = re.compile(r"http://.*:80\Z|https://.*:443\Z")


def is_origin(text: str) -> bool:
    """Return whether the text is an origin as browsers serialize it."""
    parts = _ORIGIN.match(text)
    return parts is not None and _is_host(parts["host"]) and int(parts["port"] or 1) <= _LAST_PORT


def _is_host(text: str) -> bool:
    """Return False for text that looks like an IP address but is not one. Anything else is a host name."""
    try:
        if text.startswith("["):
            IPv6Address(text[1:-1])
        elif text.removesuffix(".").rpartition(".")[2].isdecimal():
            IPv4Address(text)
    except AddressValueError:
        return False
    return True


_UPSTREAM = re.compile(
    r"https?://(?P<host>[^/?#@:\[\]\s]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[1-9][0-9]{0,4}))?/?\Z|unix:/[^?#\s]+\Z"
)


def _check_upstream(url: str) -> str:
    parts = _UPSTREAM.match(url)
    if parts is None or not _is_host(parts["host"] or "") or int(parts["port"] or 1) > _LAST_PORT:
        # The message does not repeat the value, because it may contain a password.
        raise ValueError(
            "must be http://HOST[:PORT], https://HOST[:PORT] or unix:/PATH. A port is a number from 1 to 65535, an "
            "IPv6 address is written in brackets, and a path, query or user name is not allowed"
        )
    if url.startswith("unix:") and len(os.fsencode(url.removeprefix("unix:"))) > MAX_SOCKET_PATH:
        raise ValueError(f"must be a shorter path: a unix socket's path has at most {MAX_SOCKET_PATH} bytes")
    return url


UpstreamUrl = Annotated[str, AfterValidator(_check_upstream)]


def place_of(upstream: str) -> str:
    """Return the URL of an upstream in a form in which two spellings of one place are equal."""
    url = upstream.lower().rstrip("/")
    return url.rpartition(":")[0] if DEFAULT_PORTS.match(url) else url


_SOCKET_MODE = re.compile(r"0?[0-7]{3}\Z")


def _socket_mode(mode: object) -> object:
    if mode is None or (isinstance(mode, str) and _SOCKET_MODE.match(mode)):
        return None if mode is None else int(mode, 8)
    raise ValueError('must be three octal digits in quotes, like "0660"')


_LAST_GROUP_ID = 2**32 - 2


def _socket_group(group: object) -> object:
    if group is None:
        return None
    name = str(group) if type(group) in (str, int) else ""
    too_large = name.isdecimal() and int(name[:20]) > _LAST_GROUP_ID
    if not name or name.startswith("-") or too_large:
        raise ValueError('must be the name or the id of a group, like "www-data"')
    return name


SocketMode = Annotated[int | None, BeforeValidator(_socket_mode)]
SocketGroup = Annotated[str | None, BeforeValidator(_socket_group)]
