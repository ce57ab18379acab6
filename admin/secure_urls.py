"""Addresses that secrets travel to: https, or this machine itself. No I/O."""

from ipaddress import ip_address
from urllib.parse import urlsplit


def is_safe(url: str) -> bool:
    """Say whether nobody on the way to `url` can read what is sent there, and the address is a plain one."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and not {" ", "?", "#", "\\"} & set(url)
    if not plain or not parts.hostname or "@" in parts.netloc:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.netloc))


def origin_of(url: str) -> str:
    """Return what a browser sends as the `Origin` of pages at `url` (RFC 6454 §6.1)."""
    parts = urlsplit(url)
    default = ":443" if parts.scheme == "https" else ":80"
    return f"{parts.scheme}://{parts.netloc.lower().removesuffix(default)}"


def is_loopback(host: str) -> bool:
    """Say whether a Host header is this machine itself, as browsers judge it, which trust plain http to it."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or name.endswith(".localhost") or ip_address(name).is_loopback
    except ValueError:
        return False
