"""Where the issuer sends the browser back to. Whatever comes of it is shown by the page."""

from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from admin.oidc import CALLBACK, SignInFailed
from admin.problems import DatabaseDown
from admin.sign_in import Door

_PAGE: Final = "../../"
"""From the callback's path, for a proxy in front may have mounted this elsewhere."""


def callback_routes(door: Door) -> list[tuple[str, str, Handler]]:
    """Return the callback's route. It is open to all: what it takes is judged by the round trip's own cookie."""

    async def come_back(request: web.Request) -> web.StreamResponse:
        # What is there twice could be read differently: it counts as if it were not there.
        answer = {name: value for name, value in request.query.items() if len(request.query.getall(name)) == 1}
        try:
            cookies = await door.finish_round_trip(request, answer)
        except SignInFailed as failed:
            return _to_the_page(f"#refused={failed.code}")
        except DatabaseDown as down:
            return _to_the_page(f"#refused={down.code}")
        to_the_page = _to_the_page()
        for cookie in cookies:
            to_the_page.headers.add(hdrs.SET_COOKIE, cookie)
        return to_the_page

    return [("GET", CALLBACK, come_back)]


def _to_the_page(fragment: str = "") -> web.Response:
    # The address that is left holds a code: it must not be told to the next page, or kept.
    headers = {hdrs.LOCATION: _PAGE + fragment, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return web.Response(status=303, headers=headers)
