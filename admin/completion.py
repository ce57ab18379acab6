"""Work that is completed even if the client that requested it leaves, which cancels the request's task."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


async def complete(work: Coroutine[Any, Any, Result]) -> Result:
    """Return the result of `work`. If this task is canceled, wait until the work has ended."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
