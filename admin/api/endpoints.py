"""The definition of an admin API endpoint. The router and the OpenAPI document are both built from it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass

from aiohttp import hdrs, web
from pydantic import BaseModel

from admin.api.request_models import Body, NoQuery
from admin.api.request_parsing import Model, read_body, read_query
from admin.completion import complete
from admin.problems import (
    BodyTooLarge,
    BodyTooSlow,
    DatabaseDown,
    Forbidden,
    InternalError,
    Invalid,
    Malformed,
    NotJson,
    NotSignedIn,
    Problem,
)

BODY_SECONDS = 60
"""Timeout for a request body. A CSV file of a megabyte takes this long on a slow connection."""

Responses = Mapping[int, type[BaseModel] | None]
"""The successful responses of an endpoint: the model for each status, None for no body."""

ProblemType = type[Problem]
"""A problem that an endpoint may respond with."""

ANY_ENDPOINT: tuple[ProblemType, ...] = (Invalid, InternalError)
"""The problems of every endpoint: it may get unknown parameters, or have a bug."""
NEEDS_CREDENTIALS: tuple[ProblemType, ...] = (NotSignedIn, Forbidden, DatabaseDown)
"""Further problems of every endpoint that needs credentials. The credentials may be missing, belong to someone who is
not an admin, or come from a foreign page. Sessions are in the database, which may be down."""
TAKES_BODY: tuple[ProblemType, ...] = (Malformed, BodyTooSlow, BodyTooLarge, NotJson)
"""Further problems of every endpoint that takes a body."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path: its parameters or body, its responses and its problems."""

    method: str
    path: str
    name: str
    summary: str
    takes: type[BaseModel]
    responses: Responses
    problems: tuple[ProblemType, ...]
    serve: Callable[[web.Request], Awaitable[web.StreamResponse]]
    open: bool
    """Whether the endpoint needs no credentials."""
    idempotent: bool
    """Whether the endpoint accepts an Idempotency-Key."""
    conditional: bool
    """Whether the endpoint accepts If-Match."""

    @property
    def takes_body(self) -> bool:
        return issubclass(self.takes, Body)


def endpoint(
    method: str,
    path: str,
    handler: Callable[[web.Request, Model], Coroutine[None, None, web.StreamResponse]],
    takes: type[Model],
    responses: Responses,
    *problems: ProblemType,
    open_to_all: bool = False,
    idempotent: bool = False,
    conditional: bool = False,
) -> Endpoint:
    """Return the endpoint that calls `handler` with its query or body, parsed as `takes`.

    The handler's name and docstring become the operation id and the summary in the OpenAPI document.
    """

    async def serve(request: web.Request) -> web.StreamResponse:
        taken = await _read(request, takes)
        if method == "GET":
            return await handler(request, taken)
        # A deletion that was requested must take place.
        return await complete(handler(request, taken))

    authentication = () if open_to_all else NEEDS_CREDENTIALS
    body = TAKES_BODY if issubclass(takes, Body) else ()
    problems = (*ANY_ENDPOINT, *authentication, *body, *problems)
    return Endpoint(
        method,
        path,
        handler.__name__,
        handler.__doc__ or "",
        takes,
        responses,
        tuple(dict.fromkeys(problems)),
        serve,
        open_to_all,
        idempotent,
        conditional,
    )


async def _read(request: web.Request, model: type[Model]) -> Model:
    if not issubclass(model, Body):
        return read_query(model, request.query)
    read_query(NoQuery, request.query)
    if request.content_type != "application/json":
        raise NotJson("The body must be JSON with the header `Content-Type: application/json`.")
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
        raise NotJson("The body must not be compressed. Leave out `Content-Encoding`.")
    try:
        async with asyncio.timeout(BODY_SECONDS):
            raw = await _body(request, model.max_bytes)
    except TimeoutError:
        raise BodyTooSlow(f"The body took more than {BODY_SECONDS} seconds to arrive.") from None
    except (web.RequestPayloadError, ConnectionError):
        raise Malformed("The body is incomplete.") from None
    # Parsing megabytes takes up to a second. In the event loop, it would block the front door, too.
    return await asyncio.to_thread(read_body, model, raw)


async def _body(request: web.Request, max_bytes: int) -> bytes:
    raw = bytearray()
    async for chunk in request.content.iter_any():
        raw += chunk
        if len(raw) > max_bytes:
            raise BodyTooLarge(f"The body has more than {max_bytes:,} bytes.")
    return bytes(raw)
