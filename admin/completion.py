"""Work that is completed even if the client that requested it leaves, which cancels the request's task."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

Result = TypeVar("Result")

_log = structlog.get_logger("sitelatch.admin")


async def complete(work: Coroutine[Any, Any, Result]) -> Result:
    """Return the result of `work`. If this task is canceled, wait until the work has ended."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        # Otherwise asyncio would log the error as an exception that was never retrieved.
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.info("change_failed", reason=type(error).__name__)
        raise
