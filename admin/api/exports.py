"""Streams a list as a CSV file, in constant memory: each page is sent as it is read."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import asyncpg
import structlog
from aiohttp import hdrs, web

from admin.api.response_models import Page, View
from admin.connections import DATABASE_DOWN
from admin.problems import Problem

Item = TypeVar("Item", bound=View)
Items = TypeVar("Items", bound=View, contravariant=True)

log = structlog.get_logger("sitelatch.admin")


class Render(Protocol[Items]):
    """Renders items as lines of a CSV file. With titles, they are the beginning of a file."""

    def __call__(self, items: Sequence[Items], /, *, with_titles: bool = False) -> bytes: ...


async def stream_csv(
    request: web.Request,
    headers: Mapping[str, str],
    read: Callable[[str | None], Awaitable[Page[Item]]],
    render: Render[Item],
) -> web.StreamResponse:
    """Send the list that `read` returns page by page. If a page cannot be read, the response ends unfinished."""
    page = await read(None)
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    if request.method == hdrs.METH_HEAD:
        return response
    try:
        await response.write(await asyncio.to_thread(render, page.items, with_titles=True))
        while page.next is not None:
            page = await read(page.next)
            await response.write(await asyncio.to_thread(render, page.items))
    except (Problem, asyncpg.PostgresError, *DATABASE_DOWN) as error:
        # The head was sent, so only an unfinished body can show that the file is incomplete.
        log.warning("export_failed", path=request.path, error=type(error).__name__)
        if request.transport is not None:
            request.transport.abort()
    return response
