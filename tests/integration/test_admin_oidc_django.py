"""Sign-in at an issuer made with django-oauth-toolkit, whose userinfo endpoint alone says that an email is verified."""

import asyncio
import html
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import httpx
import pytest

from admin.app import admin_app
from admin.identity.provider import CALLBACK
from admin.settings import AllowSettings, OidcSettings
from tests.integration.adminapi import SETTINGS, AdminClient, serving
from tests.integration.jar import Jar
from tests.ports import free_port
from tests.provider import CLIENT, SECRET, START_SECONDS

ADA = "ada@example.com"
PORT = free_port()
PUBLIC_URL = f"http://127.0.0.1:{PORT}/admin"
SCRIPT = Path(__file__).parents[1] / "django_provider.py"


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The issuer's URL."""
    port, folder = free_port(), tmp_path_factory.mktemp("django")
    command = [sys.executable, str(SCRIPT), str(port), PUBLIC_URL + CALLBACK, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield f"http://127.0.0.1:{port}/o"
        finally:
            process.kill()


@pytest.fixture
async def admin(pool: asyncpg.Pool, issuer: str) -> AsyncIterator[AdminClient]:
    """The admin API with this issuer."""
    allow = (AllowSettings(emails=(ADA,)),)
    oidc = OidcSettings(issuer=issuer, client_id=CLIENT, client_secret=SECRET, allow=allow)
    settings = SETTINGS.model_copy(update={"public_url": PUBLIC_URL, "oidc": oidc})
    async with serving(admin_app(settings, pool), port=PORT) as client:
        yield client


def answer_consent_page(location: str, **button: str) -> str:
    """Sign in at the issuer, press a button of its consent page, and return the URL that it redirects to."""
    with httpx.Client(trust_env=False, follow_redirects=True, timeout=START_SECONDS) as browser:
        page = browser.get(location)
        fields = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text)
        form = {name: html.unescape(value) for name, value in fields}
        answer = browser.post(page.url, data={**form, **button}, follow_redirects=False)
        return answer.headers["Location"]


async def test_userinfo_confirms_the_email_of_the_id_token(admin: AdminClient) -> None:
    jar = Jar(admin)
    back = await asyncio.to_thread(answer_consent_page, await jar.begin(), allow="Authorize")
    assert await jar.follow_redirect(back) == ""
    status, session = await jar.whoami()
    assert (status, session["person"]) == (200, {"name": "ada", "email": ADA})


async def test_a_person_who_refuses_consent_is_told_that_the_sign_in_was_canceled(admin: AdminClient) -> None:
    jar = Jar(admin)
    back = await asyncio.to_thread(answer_consent_page, await jar.begin())
    assert await jar.follow_redirect(back) == "denied"
    assert jar.session is None
