"""The OpenID Connect redirect URI. It sends the browser back to the page, which shows the result."""

from collections import Counter
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from multidict import MultiMapping

from admin.connections import DATABASE_DOWN, database_problem
from admin.identity.provider import CALLBACK, SignInFailed
from admin.identity.sign_in import SignInFlow
from admin.problems import DatabaseDown

_PAGE: Final = "../../"
"""Relative to the callback's path, because a proxy in front may have mounted the page under another path."""


def callback_routes(sign_in: SignInFlow) -> list[tuple[str, str, Handler]]:
    """Return the callback's route. It needs no credentials: the login's own cookie decides."""

    async def callback(request: web.Request) -> web.StreamResponse:
        if request.method == hdrs.METH_HEAD:  # HEAD must have no effect, and a login can be finished only once
            return _to_the_page("#refused=expired")
        try:
            cookies = await sign_in.finish_oidc(request, single_parameters(request.query))
        except SignInFailed as failed:
            reason = "" if failed.reason is None else f"&reason={failed.reason}"
            return _to_the_page(f"#refused={failed.code}{reason}")
        except DatabaseDown as down:
            return _to_the_page(f"#refused={down.code}")
        except DATABASE_DOWN as error:
            return _to_the_page(f"#refused={database_problem(error).code}")
        response = _to_the_page()
        for cookie in cookies:
            response.headers.add(hdrs.SET_COOKIE, cookie)
        return response

    return [("GET", CALLBACK, callback)]


def single_parameters(parameters: MultiMapping[str]) -> dict[str, str]:
    """Return the parameters that appear once. Repeated ones are dropped, because it is unclear which value counts."""
    times = Counter(name for name, _ in parameters.items())
    return {name: value for name, value in parameters.items() if times[name] == 1}


def _to_the_page(fragment: str = "") -> web.Response:
    # The callback's URL contains the code, so it must not reach the next page or a cache.
    headers = {hdrs.LOCATION: _PAGE + fragment, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return web.Response(status=303, headers=headers)
