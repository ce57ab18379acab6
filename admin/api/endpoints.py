"""What a route of the admin API is. One table of these is served and, in `openapi`, described."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from pydantic import BaseModel

from admin.api.request_models import Body, Model, NoQuery, read_body, read_query
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
"""A CSV of a megabyte on a slow line takes as long."""

Answers = Mapping[int, type[BaseModel] | None]
"""What a route answers when all is well: the model at each status, None where there is no body."""

ProblemType = type[Problem]
"""An error that a route may answer with."""

ALWAYS: tuple[ProblemType, ...] = (Invalid, InternalError)
"""Of every route: an unknown parameter is never ignored, and we may have faults."""
OF_ADMINS: tuple[ProblemType, ...] = (NotSignedIn, Forbidden, DatabaseDown)
"""Of every route that is not open to all: credentials come first, being known elsewhere does not make an admin, a
change may come from a foreign page, and sessions are in the database."""
OF_BODIES: tuple[ProblemType, ...] = (Malformed, BodyTooSlow, BodyTooLarge, NotJson)
"""Of every route that takes a body."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path: what it takes, may answer and may refuse with."""

    method: str
    path: str
    name: str
    summary: str
    takes: type[BaseModel]
    answers: Answers
    refuses: tuple[ProblemType, ...]
    serve: Handler
    open: bool
    """Nobody need be signed in."""
    idempotent: bool
    """What is made twice with one Idempotency-Key is made once."""

    @property
    def takes_body(self) -> bool:
        return issubclass(self.takes, Body)


def endpoint(
    method: str,
    path: str,
    does: Callable[[web.Request, Model], Awaitable[web.Response]],
    takes: type[Model],
    answers: Answers,
    *refuses: ProblemType,
    open_to_all: bool = False,
    idempotent: bool = False,
) -> Endpoint:
    """Return the route on which `does` is called with what `takes` makes of the query or the body."""

    async def serve(request: web.Request) -> web.Response:
        return await does(request, await _read(request, takes))

    of_admins = () if open_to_all else OF_ADMINS
    of_bodies = OF_BODIES if issubclass(takes, Body) else ()
    refuses = (*ALWAYS, *of_admins, *of_bodies, *refuses)
    return Endpoint(
        method,
        path,
        does.__name__,
        does.__doc__ or "",
        takes,
        answers,
        tuple(dict.fromkeys(refuses)),
        serve,
        open_to_all,
        idempotent,
    )


async def _read(request: web.Request, model: type[Model]) -> Model:
    if not issubclass(model, Body):
        return read_query(model, request.query)
    read_query(NoQuery, request.query)
    if request.content_type != "application/json":
        raise NotJson("The body must be JSON, with the header `Content-Type: application/json`.")
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
        raise NotJson("The body must be JSON as it is: leave out `Content-Encoding`.")
    try:
        async with asyncio.timeout(BODY_SECONDS):
            raw = await _body(request, model.most_bytes)
    except TimeoutError:
        raise BodyTooSlow(f"The body took more than {BODY_SECONDS} seconds to arrive.") from None
    except (web.RequestPayloadError, ConnectionError):
        raise Malformed("The body did not arrive whole.") from None
    # Megabytes take a second, in which the front door would stand still, too.
    return await asyncio.to_thread(read_body, model, raw)


async def _body(request: web.Request, most_bytes: int) -> bytes:
    raw = bytearray()
    async for chunk in request.content.iter_any():
        raw += chunk
        if len(raw) > most_bytes:
            raise BodyTooLarge(f"The body has more than {most_bytes:,} bytes.")
    return bytes(raw)
