"""The responses of the API that the page needs first. The page carries them, which saves two round trips."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import asyncpg
from aiohttp import hdrs, web
from yarl import URL

from admin.api.endpoints import Endpoint
from admin.api.handlers import CALLER
from admin.connections import DATABASE_DOWN
from admin.identity.authentication import Authenticator
from admin.problems import Problem

FIRST_SECONDS: Final = 1.0
"""How long the page waits for them. A page without them sends the requests itself, and shows progress and errors."""
_PATHS: Final = ("session", "workspaces?limit=1000", "users?sort=-created&limit=50")
_UNAVAILABLE: Final = (Problem, asyncpg.PostgresError, *DATABASE_DOWN)


class FirstResponses:
    """Responds to the first requests of a page before the page sends them."""

    def __init__(self, authenticator: Authenticator, endpoints: Sequence[Endpoint]) -> None:
        self._authenticator = authenticator
        self._serve = {endpoint.path.lstrip("/"): endpoint.serve for endpoint in endpoints if endpoint.method == "GET"}

    async def for_page(self, request: web.Request) -> str | None:
        """Return a JSON object of responses by path, or None for a browser that is not signed in.

        It contains no secret that would let its reader act as the admin: the page fetches its CSRF token on its own.
        """
        if hdrs.AUTHORIZATION in request.headers:
            return None
        responses: dict[str, str] = {}
        try:
            async with asyncio.timeout(FIRST_SECONDS):
                caller = await self._authenticator.authenticate(request)
                request[CALLER] = replace(caller, csrf_token=None)
                for path in _PATHS:
                    responses[path] = await self._response(request, path)
        except _UNAVAILABLE:
            pass  # The page sends the requests that are missing here.
        members = ", ".join(f"{json.dumps(path)}: {response}" for path, response in responses.items())
        # Inside a script element, `<` could begin a tag or a comment.
        return f"{{{members}}}".replace("<", "\\u003c") if responses else None

    async def _response(self, request: web.Request, path: str) -> str:
        serve = self._serve[path.partition("?")[0]]
        response = await serve(request.clone(rel_url=URL(f"/{path}")))
        return (isinstance(response, web.Response) and response.text) or "null"
