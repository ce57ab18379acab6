"""Our cookies, and whether a request comes from our own page: what browsers say of themselves. No I/O.

The listener speaks plain http and TLS ends before it, so which of the two the browser sees is known from the `Origin`
that it sends. A foreign page cannot forge that, and other clients could only deceive themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from admin.problems import CrossSite
from admin.secure_urls import is_loopback


@dataclass(frozen=True, slots=True)
class Cookie:
    """How the session's cookie is called and kept at one address of ours."""

    name: str
    secure: bool

    def kept(self, value: str, seconds: int, same_site: Literal["Strict", "Lax"] = "Strict") -> str:
        """Return the Set-Cookie line that keeps `value`; no seconds: the one that takes it back."""
        secure = "; Secure" if self.secure else ""
        return f"{self.name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite={same_site}{secure}"

    def beside(self, purpose: str) -> "Cookie":
        """Return a cookie of the same address for something else."""
        return Cookie(f"{self.name}-{purpose}", self.secure)


HTTPS = Cookie("__Host-sitelatch", secure=True)
"""The prefix keeps other hosts of the domain from setting it (RFC 6265bis §4.1.3.2)."""


def cookie_for(origin: str | None, host: str) -> Cookie:
    """Return the cookie for a page of ours. Raises CrossSite where `origin` is not a page of `host`, or not safe."""
    if origin is None:
        raise CrossSite("A browser's request that changes something must say its Origin.")
    page = _origin(origin)
    if page is None or page.netloc.lower() != host.lower():
        raise CrossSite(
            "The Origin is not this host. If that is a proxy's doing, have it send the Host header on as it came."
        )
    if page.scheme == "https":
        return HTTPS
    if page.scheme == "http" and is_loopback(host):
        return _on_loopback(host)
    raise CrossSite(
        "Signing in over plain http is for loopback only: anybody on the way could read the token. Use https."
    )


def cookie_at(host: str, scheme: str | None) -> Cookie:
    """Return the cookie for a request without an Origin, by what the proxy says; plain http is for loopback alone."""
    return _on_loopback(host) if is_loopback(host) and scheme != "https" else HTTPS


def check_host(origin: str | None, host: str) -> None:
    """Raise CrossSite where a browser says that the request is of a page of another host than `host`."""
    if origin is not None and ((page := _origin(origin)) is None or page.netloc.lower() != host.lower()):
        raise CrossSite("The Origin is not this host.")


def cookie_value(lines: Sequence[str], host: str, purpose: str | None = None) -> tuple[str, Cookie] | None:
    """Return the session's token among `Cookie` header lines, or what is kept beside it for `purpose`.

    With it comes the session's cookie. None where there is no such line, or more than one.
    """
    for session in (HTTPS, *([_on_loopback(host)] if is_loopback(host) else [])):
        name = session.name if purpose is None else session.beside(purpose).name
        # Anybody may send megabytes of cookies. Taking them all apart took seconds; looking for one of them does not.
        found = [
            rest.partition(";")[0].strip()
            for line in lines
            for rest in f";{line}".replace("; ", ";").split(f";{name}=")[1:]
        ]
        if found:
            return (found[0], session) if len(found) == 1 else None
    return None


def _on_loopback(host: str) -> Cookie:
    """Return the cookie without TLS. Not every browser keeps a Secure one here; ports share cookies, hence the name."""
    return Cookie(f"sitelatch-{host.rpartition(':')[2] if ':' in host.rpartition(']')[2] else 80}", secure=False)


def _origin(text: str) -> SplitResult | None:
    try:
        page = urlsplit(text)
    except ValueError:
        return None
    return page if text == f"{page.scheme}://{page.netloc}" and "@" not in page.netloc else None
