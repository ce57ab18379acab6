"""Where the issuer sends the browser back to. Whatever comes of it is shown by the page."""

from collections import Counter
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from multidict import MultiMapping

from admin.connections import DATABASE_DOWN, database_down
from admin.identity.oidc import CALLBACK, SignInFailed
from admin.identity.sign_in import SignInFlow
from admin.problems import DatabaseDown

_PAGE: Final = "../../"
"""From the callback's path, for a proxy in front may have mounted this elsewhere."""


def callback_routes(sign_in: SignInFlow) -> list[tuple[str, str, Handler]]:
    """Return the callback's route. It is open to all: what it takes is judged by the round trip's own cookie."""

    async def come_back(request: web.Request) -> web.StreamResponse:
        try:
            cookies = await sign_in.finish_oidc(request, said_once(request.query))
        except SignInFailed as failed:
            return _to_the_page(f"#refused={failed.code}")
        except DatabaseDown as down:
            return _to_the_page(f"#refused={down.code}")
        except DATABASE_DOWN as error:
            return _to_the_page(f"#refused={database_down(error).code}")
        to_the_page = _to_the_page()
        for cookie in cookies:
            to_the_page.headers.add(hdrs.SET_COOKIE, cookie)
        return to_the_page

    return [("GET", CALLBACK, come_back)]


def said_once(parameters: MultiMapping[str]) -> dict[str, str]:
    """Return what is there once. What is there twice could be read differently: it is as if it were not there."""
    times = Counter(name for name, _ in parameters.items())
    return {name: value for name, value in parameters.items() if times[name] == 1}


def _to_the_page(fragment: str = "") -> web.Response:
    # The address that is left holds a code: it must not be told to the next page, or kept.
    headers = {hdrs.LOCATION: _PAGE + fragment, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return web.Response(status=303, headers=headers)
