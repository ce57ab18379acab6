"""Checks for URLs that secrets are sent to: https, or loopback. No I/O."""

from ipaddress import ip_address
from urllib.parse import urlsplit


def is_safe(url: str) -> bool:
    """Return whether `url` is https or on loopback, without user, query, fragment or unusual characters."""
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
    """Return the `Origin` that a browser sends for pages at `url` (RFC 6454 §6.1)."""
    parts = urlsplit(url)
    default = ":443" if parts.scheme == "https" else ":80"
    return f"{parts.scheme}://{parts.netloc.lower().removesuffix(default)}"


def is_loopback(host: str) -> bool:
    """Return whether a Host header names loopback as browsers define it. They trust plain HTTP there."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or name.endswith(".localhost") or ip_address(name).is_loopback
    except ValueError:
        return False
