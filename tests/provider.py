"""A real OpenID Connect provider on loopback: the certified `oidc-provider` from npm, run by provider.mjs."""

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

from admin.identity.oidc import CALLBACK
from tests.npm import FOLDER, package

CLIENT = "sitelatch"
SECRET = "a secret of the client's, with : and %"
API = "https://keys.example"
"""The audience of tokens for the API."""
START_SECONDS = 60


@dataclass
class Provider:
    """The provider, which runs until the tests are done."""

    issuer: str
    process: "subprocess.Popen[str]"

    def rotate(self, algorithm: str = "RS256") -> None:
        """Have it sign with a new key, and forget the old one."""
        self._tell({"rotate": algorithm})

    def token(self, email: str, audience: str = API) -> str:
        """Return an access token for the API, in the form of RFC 9068."""
        answer = httpx.post(
            f"{self.issuer}/token",
            data={"grant_type": "client_credentials", "resource": audience},
            auth=(quote_plus(email), quote_plus(SECRET)),
            trust_env=False,
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def sign_in(self, location: str, email: str | None) -> str:
        """Do what a person does in the browser, from where Sitelatch sends it; return where it is sent back to.

        No email: the person goes away.
        """
        with httpx.Client(trust_env=False) as browser:
            answer = browser.get(location)
            typed = {"cancel": "1"} if email is None else {"login": email}
            answer = browser.post(urljoin(location, answer.headers["Location"]), data=typed)
            while (went := urljoin(str(answer.url), answer.headers["Location"])).startswith(self.issuer):
                answer = browser.get(went)
                assert answer.is_redirect, html.unescape(answer.text)
            return went

    def _tell(self, command: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        self._wait_for("done")

    def _wait_for(self, word: str) -> None:
        assert self.process.stdout is not None
        line = ""
        while word not in line:
            assert select.select([self.process.stdout], [], [], START_SECONDS)[0], f"the provider is not {word}"
            line = self.process.stdout.readline()
            assert line, "the provider has ended"


@contextmanager
def running(port: int, public_url: str, *emails: str, host: str = "127.0.0.1") -> Iterator[Provider]:
    """Lend a provider that knows Sitelatch at `public_url`, and programs that get tokens as `emails`.

    To browsers another host is another site, another port is not.
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
    said = json.dumps({"issuer": issuer, "port": port, "clients": [page, *programs]})
    process = subprocess.Popen(
        ["node", str(FOLDER / "provider.mjs"), said],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    provider = Provider(issuer, process)
    try:
        provider._wait_for("ready")
        yield provider
    finally:
        process.kill()
        process.communicate()


def unsigned(part: dict[str, Any]) -> str:
    """Return one part of a JWT."""
    return _base64(json.dumps(part).encode())


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def opened(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the head and the claims of a JWT, whoever signed it."""
    head, claims = (json.loads(base64.urlsafe_b64decode(part + "===")) for part in token.split(".")[:2])
    return head, claims


def signed(head: dict[str, Any], claims: dict[str, Any], key: RSAKey | ECKey | OKPKey | bytes) -> str:
    """Return a JWT as an attacker would make it; with bytes, an HMAC by them."""
    if not isinstance(key, bytes):
        registry = JWSRegistry(algorithms=[head["alg"]], strict_check_header=False)
        return jwt.encode(head, claims, key, registry=registry, default_type=None)
    body = f"{unsigned(head)}.{unsigned(claims)}"
    return f"{body}.{_base64(hmac.digest(key, body.encode(), 'sha256'))}"


def foreign_key(kid: str) -> RSAKey:
    """Return a key of somebody else's, under a name of the issuer's."""
    return RSAKey.generate_key(2048, {"kid": kid})


def state_of(location: str) -> str:
    """Return the state in an address that Sitelatch sends the browser to."""
    found = re.search(r"[?&]state=([^&]+)", location)
    assert found
    return found[1]
