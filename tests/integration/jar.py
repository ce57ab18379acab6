"""A minimal browser for sign-in tests: it keeps cookies and follows redirects."""

from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from admin.identity.provider import CALLBACK
from tests.integration.adminapi import AdminClient


@dataclass
class Jar:
    """A browser's cookie jar."""

    admin: AdminClient
    cookies: dict[str, str] = field(default_factory=dict)
    reason: str = ""
    """Why the person is not an admin, if the last redirect said so."""

    async def begin(self) -> str:
        """Start signing in at the issuer. Return the URL that the browser is sent to."""
        status, body, _ = await self.request("POST", "/sign-in/oidc", {"Origin": self.admin.origin})
        assert status == 200, body
        return str(body["location"])

    async def follow_redirect(self, url: str) -> str:
        """Follow the issuer's redirect. Return the code of a refusal, or an empty string."""
        parts = urlsplit(url)
        assert parts.path == f"/admin{CALLBACK}", url
        status, _, answer = await self.request("GET", f"{CALLBACK}?{parts.query}", {})
        assert status == 303
        assert answer.headers["Cache-Control"] == "no-store"
        page, _, refused = answer.headers["Location"].partition("#refused=")
        assert page == "../../"
        code, _, self.reason = refused.partition("&reason=")
        return str(code)

    async def request(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, Any, Any]:
        sent = {**headers, "Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        client = replace(self.admin.as_(None), browser={name: value for name, value in sent.items() if value})
        status, body, answer = await client.request(method, path, allow_redirects=False)
        for line in answer.headers.getall("Set-Cookie", []):
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
            if "Max-Age=0" in line:
                del self.cookies[name]
        return status, body, answer

    @property
    def session(self) -> str | None:
        return self.cookies.get(f"sitelatch-{self.admin.base.port}")

    async def whoami(self) -> tuple[int, Any]:
        status, body, _ = await self.request("GET", "/session", {})
        return status, body

    async def client(self, **headers: str) -> AdminClient:
        """Return a client that acts as the page: with the cookies and the session's CSRF token."""
        status, session, _ = await self.request("GET", "/session", headers)
        assert status == 200, session
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        browser = {"Cookie": cookie, "Origin": self.admin.origin, "X-CSRF-Token": session["csrf_token"], **headers}
        return replace(self.admin.as_(None), browser=browser)
