"""The cookies of the admin page, and checks that a request comes from the page itself. No I/O.

The listener speaks plain HTTP behind a TLS proxy, so the scheme that the browser sees comes from the `Origin` header. A
foreign page cannot forge it, and a client that is not a browser gains nothing by forging it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from admin.problems import CrossSite
from admin.secure_urls import is_loopback


@dataclass(frozen=True, slots=True)
class Cookie:
    """The name and the attributes of the session cookie at one address of the page."""

    name: str
    secure: bool

    def header(self, value: str, seconds: int, same_site: Literal["Strict", "Lax"] = "Strict") -> str:
        """Return the `Set-Cookie` header value that stores `value`. With 0 seconds it deletes the cookie."""
        secure = "; Secure" if self.secure else ""
        return f"{self.name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite={same_site}{secure}"

    def for_purpose(self, purpose: str) -> "Cookie":
        """Return the cookie of the same address for another purpose."""
        return Cookie(f"{self.name}-{purpose}", self.secure)


_PURPOSE = re.compile(r"[A-Za-z0-9_-]{1,64}")

HTTPS = Cookie("__Host-sitelatch", secure=True)
"""The prefix prevents other hosts of the domain from setting the cookie (RFC 6265bis §4.1.3.2)."""


def cookie_for(origin: str | None, host: str) -> Cookie:
    """Return the cookie for a page of ours. Raises CrossSite if `origin` is not a page of `host`, or is not safe."""
    if origin is None:
        raise CrossSite("A browser must send the Origin header with a request that changes something.")
    page = _origin(origin)
    if page is None or page.netloc.lower() != host.lower():
        raise CrossSite(
            "The Origin header does not match the Host header. If a proxy is in front, configure it to forward Host "
            "unchanged."
        )
    if page.scheme == "https":
        return HTTPS
    if page.scheme == "http" and is_loopback(host):
        return _on_loopback(host)
    raise CrossSite(
        "Signing in over plain HTTP works on loopback only, because anyone on the network could read the token. Use "
        "HTTPS."
    )


def cookie_at(host: str, scheme: str | None) -> Cookie:
    """Return the cookie for a request without an Origin. `scheme` is what the proxy forwards."""
    return _on_loopback(host) if is_loopback(host) and scheme != "https" else HTTPS


def check_host(origin: str | None, host: str) -> None:
    """Raise CrossSite if a browser sends the request for a page of a host other than `host`."""
    if origin is not None and ((page := _origin(origin)) is None or page.netloc.lower() != host.lower()):
        raise CrossSite("The Origin header does not match the Host header.")


def cookie_value(lines: Sequence[str], host: str, purpose: str | None = None) -> tuple[str, Cookie] | None:
    """Return the value of the cookie for `purpose` (None: the session's token) in `Cookie` header lines.

    The second item is the session cookie of the same address. Returns None if the cookie is missing or repeated.
    """
    for session in (HTTPS, *([_on_loopback(host)] if is_loopback(host) else [])):
        name = session.name if purpose is None else session.for_purpose(purpose).name
        found = _after(lines, f"{name}=")
        if found:
            return (found[0].strip(), session) if len(found) == 1 else None
    return None


def cookies_for(lines: Sequence[str], session: Cookie, prefix: str) -> list[Cookie]:
    """Return the cookies of the same address whose purpose begins with `prefix`, in the order of the browser.

    Browsers send older cookies first (RFC 6265 §5.4).
    """
    purposes = [rest.partition("=")[0] for rest in _after(lines, session.for_purpose(prefix).name)]
    return [session.for_purpose(prefix + purpose) for purpose in purposes if _PURPOSE.fullmatch(purpose)]


def _after(lines: Sequence[str], prefix: str) -> list[str]:
    """Return the remainder of each cookie that begins with `prefix`.

    Clients can send megabytes of cookies. Parsing all of them took seconds; searching for a prefix does not.
    """
    return [rest.partition(";")[0] for line in lines for rest in f";{line}".replace("; ", ";").split(f";{prefix}")[1:]]


def _on_loopback(host: str) -> Cookie:
    """Return the cookie for plain HTTP on loopback, where some browsers reject Secure cookies.

    Its name contains the port because the ports of a host share their cookies.
    """
    return Cookie(f"sitelatch-{host.rpartition(':')[2] if ':' in host.rpartition(']')[2] else 80}", secure=False)


def _origin(text: str) -> SplitResult | None:
    try:
        page = urlsplit(text)
    except ValueError:
        return None
    return page if text == f"{page.scheme}://{page.netloc}" and "@" not in page.netloc else None
