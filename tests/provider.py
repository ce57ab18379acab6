"""A real OpenID Connect provider on loopback: `oidc-provider` from npm, which is certified, run by provider.mjs."""

import base64
import hmac
import html
import json
import re
import select
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus, urljoin

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from admin.identity.provider import CALLBACK
from tests.npm import FOLDER, package

CLIENT = "sitelatch"
SECRET = "a client secret with : and %"
API = "https://keys.example"
"""The audience of tokens for the admin API."""
START_SECONDS = 60


@dataclass
class Provider:
    """A running provider."""

    issuer: str
    process: "subprocess.Popen[str]"

    def rotate(self, algorithm: str = "RS256") -> None:
        """Replace the signing key of the provider."""
        self._command({"rotate": algorithm})

    def token(self, email: str, audience: str = API) -> str:
        """Return an access token for the admin API, in the format of RFC 9068."""
        answer = httpx.post(
            f"{self.issuer}/token",
            data={"grant_type": "client_credentials", "resource": audience},
            auth=(quote_plus(email), quote_plus(SECRET)),
            trust_env=False,
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def sign_in(self, location: str, email: str | None) -> str:
        """Sign in as a person in a browser does, starting at the URL that Sitelatch redirects to.

        Returns the URL to which the provider redirects back. Without an email address, the person cancels.
        """
        with httpx.Client(trust_env=False) as browser:
            answer = browser.get(location)
            form = {"cancel": "1"} if email is None else {"login": email}
            answer = browser.post(urljoin(location, answer.headers["Location"]), data=form)
            while (next_url := urljoin(str(answer.url), answer.headers["Location"])).startswith(self.issuer):
                answer = browser.get(next_url)
                assert answer.is_redirect, html.unescape(answer.text)
            return next_url

    def _command(self, command: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        self.wait_for("done")

    def wait_for(self, word: str) -> None:
        """Read the output of the provider until a line contains this word."""
        assert self.process.stdout is not None
        line = ""
        while word not in line:
            assert select.select([self.process.stdout], [], [], START_SECONDS)[0], f"the provider did not report {word}"
            line = self.process.stdout.readline()
            assert line, "the provider exited"


@contextmanager
def running(port: int, public_url: str, *emails: str, host: str = "127.0.0.1") -> Iterator[Provider]:
    """Run a provider whose clients are Sitelatch at `public_url`, and one program per address in `emails`.

    Browsers treat another host as another site, but not another port, which matters for cookies.
    """
    package("oidc-provider")
    page = {
        "client_id": CLIENT,
        "client_secret": SECRET,
        "redirect_uris": [public_url + CALLBACK],
        "grant_types": ["authorization_code"],
        "response_types": ["code"],
    }
    programs = [
        {
            "client_id": email,
            "client_secret": SECRET,
            "redirect_uris": [],
            "grant_types": ["client_credentials"],
            "response_types": [],
        }
        for email in emails
    ]
    issuer = f"http://{host}:{port}"
    options = json.dumps({"issuer": issuer, "port": port, "clients": [page, *programs]})
    process = subprocess.Popen(
        ["node", str(FOLDER / "provider.mjs"), options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    provider = Provider(issuer, process)
    try:
        provider.wait_for("ready")
        yield provider
    finally:
        process.kill()
        process.communicate()


def unsigned(part: dict[str, Any]) -> str:
    """Return the encoded header or claims of a JWT."""
    return _base64(json.dumps(part).encode())


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def opened(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the header and the claims of a JWT without checking its signature."""
    head, claims = (json.loads(base64.urlsafe_b64decode(part + "===")) for part in token.split(".")[:2])
    return head, claims


def signed(head: dict[str, Any], claims: dict[str, Any], key: RSAKey | ECKey | OKPKey | bytes) -> str:
    """Return a JWT as an attacker could create it. If the key is bytes, the signature is an HMAC."""
    if not isinstance(key, bytes):
        registry = JWSRegistry(algorithms=[head["alg"]], strict_check_header=False)
        return jwt.encode(head, claims, key, registry=registry, default_type=None)
    body = f"{unsigned(head)}.{unsigned(claims)}"
    return f"{body}.{_base64(hmac.digest(key, body.encode(), 'sha256'))}"


def foreign_key(kid: str) -> RSAKey:
    """Return a new key that has the key ID of one of the issuer's keys."""
    return RSAKey.generate_key(2048, {"kid": kid})


def state_of(location: str) -> str:
    """Return the `state` parameter of the URL that Sitelatch redirects the browser to."""
    found = re.search(r"[?&]state=([^&]+)", location)
    assert found
    return found[1]
